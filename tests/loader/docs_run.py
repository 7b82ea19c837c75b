"""Runs the Python of a page of the docs as it is printed, beside the dataset that it talks of."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

from demo import phantom
from dmapsvc.pipeline import precompute
from dmapsvc.spec import MapSpec

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str) -> list[str]:
    """The Python blocks of a page."""
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def make_knees(folder: Path) -> None:
    """`folder/knees.zarr`, two small generated knees with images."""
    for name in ("labels", "images"):
        (folder / name).mkdir()
    for seed in (1, 2):
        labels, affine = phantom.knee(seed, (40, 72, 72))
        phantom.write(folder / "labels" / f"case{seed:02}.nii.gz", labels, affine)
        phantom.write(folder / "images" / f"case{seed:02}.nii.gz", phantom.render(labels, seed), affine)
    precompute(folder / "labels", folder / "knees.zarr", spec=MapSpec(), images=folder / "images")


def run_block_here(block: str) -> list[str]:
    """What a block prints, by line, run in this process, for one that starts no other."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block, "block.py", "exec"), {"__name__": "__main__"})
    return printed.getvalue().splitlines()


def run_block(block: str, folder: Path) -> list[str]:
    """What a block prints, by line, run as a script in `folder`."""
    script = folder / "block.py"
    script.write_text(block)
    ran = subprocess.run([sys.executable, script], cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()
