"""The README's Python runs as it is printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from demo import phantom
from dmapsvc.pipeline import precompute
from dmapsvc.spec import MapSpec

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the dataset that the README talks of."""
    for name in ("labels", "images"):
        (tmp_path / name).mkdir()
    labels, affine = phantom.knee(1, (32, 64, 64))
    phantom.write(tmp_path / "labels" / "case01.nii.gz", labels, affine)
    phantom.write(tmp_path / "images" / "case01.nii.gz", phantom.render(labels, 1), affine)
    precompute(tmp_path / "labels", tmp_path / "knees.zarr", spec=MapSpec(), images=tmp_path / "images")
    return tmp_path


def test_there_are_two_blocks() -> None:
    assert len(BLOCKS) == 2


@pytest.mark.parametrize("number", [0, 1])
def test_a_block_runs(number: int, folder: Path) -> None:
    script = folder / "block.py"
    script.write_text(f"if __name__ == '__main__':\n{_indented(BLOCKS[number])}")
    ran = subprocess.run([sys.executable, script], cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def _indented(block: str) -> str:
    return "".join(f"    {line}\n" for line in block.splitlines())
