"""docs/losses.md names every loss, and its Python runs as it is printed."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from dmapsvc.train import losses
from dmapsvc.train.names import LOSSES
from tests.loader.docs_run import DOCS, blocks, make_knees, run_block_here


def test_the_table_is_of_all_losses() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| `([A-Za-z]+)` \|", (DOCS / "losses.md").read_text(), re.MULTILINE)
    assert [name for name, _ in rows] == list(LOSSES)
    made = {name: type(losses.make_loss(name, voxels=(1, 1))).__name__ for name in LOSSES}
    assert dict(rows) == made


def test_the_loop_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_knees(tmp_path)
    monkeypatch.chdir(tmp_path)
    (block,) = blocks("losses.md")
    printed = dict(line.split() for line in run_block_here(block))
    assert list(printed) == list(LOSSES)
    assert all(math.isfinite(float(value)) for value in printed.values())
