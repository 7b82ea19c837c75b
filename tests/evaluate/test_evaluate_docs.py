"""What docs/evaluation.md says of files and flags is so, and its Python runs as it is printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dmapsvc.evaluate.evaluation import _BYTES
from dmapsvc.evaluate.scores import COLUMNS
from tests.loader.docs_run import DOCS, blocks, make_knees, run_block_here

TEXT = (DOCS / "evaluation.md").read_text()


def test_the_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_knees(tmp_path)
    monkeypatch.chdir(tmp_path)
    (block,) = blocks("evaluation.md")
    printed = run_block_here(block)
    assert [line.split()[:2] for line in printed] == [["1", "2"], ["2", "2"], ["3", "2"], ["mean", "2"]]
    assert all(0.8 < float(line.split()[2]) < 1 for line in printed)


def test_every_column_is_described() -> None:
    described = set(re.findall(r"`([a-z_0-9]+)`", TEXT)) | {"b_dsc_2", "b_dsc_3"}  # behind the dots
    assert set(COLUMNS) <= described


def test_the_memory_is_the_one_that_is_reckoned_with() -> None:
    assert f"{_BYTES} bytes a voxel" in TEXT
