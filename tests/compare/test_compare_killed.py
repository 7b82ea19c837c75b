"""The comparison as people run it, killed in the middle: the same command ends it, with the same scores."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import psutil
import pytest

from dmapsvc.compare import Config, compare
from dmapsvc.store import Dataset
from dmapsvc.train import Checkpoint
from tests.compare.in_process import InProcess

STEPS = 60
CONFIG = f"""
contenders = ["dice", "cross-entropy"]
seeds = 1
jobs = 2
[train]
patch = [16, 16, 16]
steps = {STEPS}
width = 1
batch = 1
validate_every = 20
save_every = 5
threads = 1
device = "cpu"
schedule = "cosine"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "compare.toml"
    path.write_text(CONFIG)
    return path


def _command(dataset: Dataset, config: Path, out: Path) -> list[str]:
    words = ["compare", str(dataset.path), "-o", str(out), "--config", str(config)]
    return [sys.executable, "-m", "tests.compare.unreported", *words]


def _scores(out: Path) -> dict[str, bytes]:
    return {str(path.parent.relative_to(out)): path.read_bytes() for path in out.rglob("scores.csv")}


def _uninterrupted(dataset: Dataset, config: Path, out: Path) -> dict[str, bytes]:
    """The scores of a comparison that is left alone."""
    with mock.patch("dmapsvc.compare.comparison.Processes", InProcess):
        compare(Config.from_toml(config), dataset.path, out)
    return _scores(out)


def _saved(out: Path) -> dict[Path, int]:
    """The runs that have a checkpoint and are not through, with their steps."""
    last = [path for path in out.glob("runs/*/*/last.pt") if not (path.parent / "outcome.json").exists()]
    return {path.parent: Checkpoint.load(path).step for path in last}


@contextmanager
def _in_the_middle(dataset: Dataset, config: Path, out: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A comparison, and one of its runs that has learnt something since it was started."""
    before = _saved(out)
    with subprocess.Popen(
        _command(dataset, config, out),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            give_up = time.monotonic() + 120
            while not (further := [run for run, step in _saved(out).items() if step > before.get(run, 0)]):
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < give_up
                time.sleep(0.02)
            yield process, further[0]
        finally:
            process.kill()


@pytest.mark.usefixtures("unreported")
def test_stopped_and_killed_again_and_again_it_ends_with_the_same_scores(
    dataset: Dataset, config: Path, out: Path, tmp_path: Path
) -> None:
    with _in_the_middle(dataset, config, out) as (process, run):
        os.kill(_process_of(process, run), signal.SIGKILL)
        told, said = process.communicate(timeout=300)
    assert process.returncode == 1
    assert f"error: {run.relative_to(out)}: its process was ended by SIGKILL" in said
    assert "1 run scored, 1 failed" in told, "the other went on"

    with _in_the_middle(dataset, config, out) as (process, _):
        os.killpg(process.pid, signal.SIGINT)  # as a terminal's Ctrl-C does
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "saved first" in said
    assert "run the same command again to go on" in said
    assert "Traceback" not in said

    with _in_the_middle(dataset, config, out) as (process, run):
        for pid in [child.pid for child in psutil.Process(process.pid).children(recursive=True)]:
            os.kill(pid, signal.SIGKILL)
        process.kill()
    assert _saved(out)[run] < STEPS

    last = subprocess.run(_command(dataset, config, out), capture_output=True, text=True)
    assert last.returncode == 0, last.stderr
    assert "2 runs scored, 0 failed" in last.stdout
    scores = _scores(out)
    assert len(scores) == 2
    assert scores == _uninterrupted(dataset, config, tmp_path / "whole")


def _process_of(comparison: subprocess.Popen[str], run: Path) -> int:
    """The process that works in the folder `run`: its log is what it prints to."""
    for child in psutil.Process(comparison.pid).children(recursive=True):
        printed = Path(f"/proc/{child.pid}/fd/1")
        if printed.exists() and printed.readlink() == run / "log.txt":
            return child.pid
    raise AssertionError(f"no process works in {run}")
