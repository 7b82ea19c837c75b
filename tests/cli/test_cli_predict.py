"""`predict` writes the label files of a run's cases and says what became of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dmapsvc.loader.source import open_source
from dmapsvc.spec import MapSpec
from dmapsvc.train import Checkpoint, RunFolder, VNet
from dmapsvc.train.split import Split
from dmapsvc.volumes import read_labels
from tests.cli.cli_run import Run

torch.set_num_threads(1)


@pytest.fixture
def store(cli: Callable[..., Run], masks: Path, tmp_path: Path) -> Path:
    """A dataset of the masks, with images of `a` and `b`; `sub__c` has none."""
    path = tmp_path / "knees.zarr"
    cli("precompute", masks, path, "--images", tmp_path / "images", "--backend", "scipy")
    return path


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run whose network has its first weights."""
    folder = RunFolder(tmp_path / "run")
    folder.prepare()
    folder.write_split(Split(train=("b",), valid=("sub__c",), test=("a",)))
    Checkpoint(
        step=1,
        classes=(0, 5, 6),
        names={},
        spec=MapSpec(),
        channels=1,
        settings={"net": "vnet", "width": 1, "patch": [16, 16, 16], "precision": "auto"},
        processes=1,
        model=VNet(classes=3, width=1).state_dict(),
        patches={},
        optimizer={},
        scaler={},
        history={},
    ).save(folder.last)
    return folder.path


def test_the_test_cases_are_predicted_once(
    cli: Callable[..., Run], store: Path, run_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "predictions"
    run = cli("predict", run_folder, store, "-o", out)
    assert (run.code, run.out) == (0, f"{out}: 1 predicted, 0 failed\n")
    assert run.err.splitlines() == [f"{out / 'a.nii.gz'}"]
    assert read_labels(out / "a.nii.gz").header.shape == open_source(store).record("a").shape
    again = cli("predict", run_folder, store, "-o", out)
    assert (again.code, again.out) == (0, f"{out}: 0 predicted, 1 there already, 0 failed\n")
    other = cli("predict", run_folder, store, "-o", out, "--components", "3")
    assert (other.code, "made with components 0" in other.error) == (2, True)
    anew = cli("predict", run_folder, store, "-o", out, "--components", "3", "--replace", "--cases", "b, a")
    assert anew.out == f"{out}: 2 predicted, 0 failed\n"


def test_a_case_without_an_image_is_told_at_the_end(
    cli: Callable[..., Run], store: Path, run_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "predictions"
    run = cli("predict", run_folder, store, "-o", out, "--cases", "all")
    assert (run.code, run.out) == (1, f"{out}: 2 predicted, 1 failed\n")
    *files, error = run.err.splitlines()
    assert files == [str(out / "a.nii.gz"), str(out / "b.nii.gz")]
    assert error.startswith("error: case 'sub__c' has no image")
    assert sorted(file.name for file in out.glob("*.nii.gz")) == ["a.nii.gz", "b.nii.gz"]


def test_images_of_a_folder_are_all_predicted(
    cli: Callable[..., Run], store: Path, run_folder: Path, tmp_path: Path
) -> None:
    run = cli("predict", run_folder, tmp_path / "images", "-o", tmp_path / "new")
    assert (run.code, run.out) == (0, f"{tmp_path / 'new'}: 2 predicted, 0 failed\n")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--checkpoint", "first"), "wanted best or last"),
        (("--overlap", "1"), "an overlap of 1"),
        (("--closing", "-2"), "closing -2"),
        (("--device", "tpu"), "device 'tpu'"),
    ],
)
def test_what_cannot_be_is_one_line(
    cli: Callable[..., Run], store: Path, run_folder: Path, tmp_path: Path, wrong: tuple[str, str], said: str
) -> None:
    run = cli("predict", run_folder, store, "-o", tmp_path / "out", *wrong)
    assert run.code == 2
    assert said in run.error
    assert not (tmp_path / "out").exists()
