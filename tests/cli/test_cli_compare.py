"""`compare` hands over what was asked for, prints what came out, and says what failed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dmapsvc.compare import Config
from dmapsvc.compare.task import Task
from dmapsvc.errors import Conflict
from tests.cli.cli_run import Run
from tests.cli.conftest import save_nifti
from tests.compare.in_process import InProcess

CONFIG = """
contenders = ["dice"]
jobs = 2
[train]
patch = [16, 16, 16]
steps = 1
width = 1
batch = 1
threads = 1
device = "cpu"
"""


@pytest.fixture
def store(cli: Callable[..., Run], tmp_path: Path) -> Path:
    """Three cases with images: one for each side of the split."""
    for number, name in enumerate("abc"):
        labels = np.zeros((16, 16, 16), np.uint8)
        labels[4 : 10 + number, 4:12, 3:9] = 5
        save_nifti(tmp_path / "labels" / f"{name}.nii.gz", labels)
        save_nifti(tmp_path / "images" / f"{name}.nii.gz", labels.astype(np.int16) * 100)
    store = tmp_path / "knees.zarr"
    cli("precompute", tmp_path / "labels", store, "--images", tmp_path / "images", "--backend", "scipy")
    return store


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "compare.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are done in this process, and no report is drawn."""
    monkeypatch.setattr("dmapsvc.compare.comparison.Processes", InProcess)
    monkeypatch.setattr("dmapsvc.compare.comparison.report", lambda place, _: place.out / "report.html")


def test_a_comparison_prints_its_scores_and_where_the_report_is(
    cli: Callable[..., Run], store: Path, config: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    asked = ("compare", store, "-o", out, "--config", config, "--contenders", "dice, focal", "--seeds", "1")
    run = cli(*asked)
    assert run.code == 0, run.err
    lines = run.out.splitlines()
    assert lines[0].split()[:3] == ["contender", "runs", "G-DSC"]
    assert [line.split()[:2] for line in lines[1:3]] == [["dice", "1"], ["focal", "1"]]
    assert lines[3] == f"{out}: 2 runs scored, 0 failed; report {out / 'report.html'}"
    assert "runs/dice/seed-0: done" in run.err
    kept = json.loads((out / "comparison.json").read_text())
    assert (kept["contenders"], kept["seeds"], kept["jobs"]) == (["dice", "focal"], 1, 2)

    again = cli(*asked)
    assert (again.code, again.out, again.err) == (0, run.out, "")


def test_what_fails_is_told_at_the_end_and_the_exit_code_is_1(
    cli: Callable[..., Run], store: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(task: Task, tell: Callable[[Any], None]) -> None:
        raise Conflict(f"{task.run.name} is in the way")

    monkeypatch.setattr("dmapsvc.compare.comparison.work", fail)
    run = cli("compare", store, "-o", tmp_path / "out", "--config", config, "--seeds", "2")
    assert run.code == 1
    assert run.out == f"{tmp_path / 'out'}: 0 runs scored, 2 failed; nothing is scored yet, so no report\n"
    assert "error: runs/dice/seed-1: runs/dice/seed-1 is in the way." in run.err.splitlines()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--contenders", "dise"), "Did you mean 'dice'?"),
        (("--seeds", "0"), "seeds is 0"),
        (("--jobs", "0"), "jobs is 0"),
        (("--config", "nowhere.toml"), "nowhere.toml"),
    ],
)
def test_what_cannot_be_is_one_line(
    cli: Callable[..., Run], tmp_path: Path, options: tuple[str, str], says: str
) -> None:
    run = cli("compare", tmp_path / "knees.zarr", "-o", tmp_path / "out", *options)
    assert run.code == 2
    assert says in run.error
    assert not (tmp_path / "out").exists()


def test_the_defaults_are_those_of_the_library() -> None:
    import inspect

    from dmapsvc.cli import compare

    options = inspect.signature(compare.command).parameters
    library = {field.name: field.default for field in dataclasses.fields(Config)}
    assert {name: options[name].default for name in ("seeds", "jobs")} == {
        name: library[name] for name in ("seeds", "jobs")
    }
