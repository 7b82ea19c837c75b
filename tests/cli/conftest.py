"""Fixtures of the command line's tests: small masks, and the program run in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from dmapsvc.cli import main
from tests.cli.cli_run import Run


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Run the program in this process, as in a pipe."""
    for name in ("DMAPSVC_SERVER", "DMAPSVC_DEBUG", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> Run:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Run(code=code, out=out, err=err)

    return run


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """A folder of three masks, `a`, `b` and `sub/c`, with labels 5 and 6; beside it images of `a` and `b`."""
    folder, images = tmp_path / "labels", tmp_path / "images"
    for number, name in enumerate(("a", "b", "sub/c")):
        labels = np.zeros((24, 20, 12), np.uint8)
        labels[4 : 12 + number, 4:12, 3:9] = 5
        labels[15:20, 4:12, 3:9] = 6
        save_nifti(folder / f"{name}.nii.gz", labels)
        if name != "sub/c":
            save_nifti(images / f"{name}.nii.gz", labels.astype(np.int16) * 100)
    return folder


def save_nifti(path: Path, array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array, np.diag([0.5, 0.5, 1.0, 1.0]))
    nib.save(image, path)
