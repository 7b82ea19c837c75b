"""What docs/evaluation.md and docs/metrics.md say of files and flags is so, and their Python runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_type_hints

import pytest

from dmapsvc.evaluate.evaluation import _BYTES
from dmapsvc.evaluate.measures import Measures
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


def test_the_metrics_python_runs() -> None:
    (block,) = blocks("metrics.md")
    (printed,) = run_block_here(block)
    g_dsc, b_dsc, hd95 = map(float, printed.split())
    assert g_dsc == pytest.approx(0.95)  # a voxel of 20 is off
    assert 0 < b_dsc < g_dsc
    assert hd95 == 0.36


def test_every_column_and_metric_is_described() -> None:
    for text, names in ((TEXT, COLUMNS), ((DOCS / "metrics.md").read_text(), get_type_hints(Measures))):
        described = set(re.findall(r"`([a-z_0-9]+)`", text)) | {"b_dsc_2", "b_dsc_3"}  # behind the dots
        assert set(names) <= described


def test_the_memory_is_the_one_that_is_reckoned_with() -> None:
    assert f"{_BYTES} bytes a voxel" in TEXT
