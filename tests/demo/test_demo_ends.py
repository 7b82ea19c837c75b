"""However a demo ends, its service ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.service import PATIENCE, ROOT

_GENTLE = (signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A demo that has got as far as its service, and would train for hours."""
    (tmp_path / "masks").mkdir()
    _write_mask(tmp_path / "masks" / "a.nii.gz")
    command = [sys.executable, "-m", "demo", "--data", str(tmp_path / "masks"), "--steps", "100000"]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "out")],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _await(lambda: "ready" in _read(tmp_path / "out" / "data" / "worker.log"))
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [*_GENTLE, signal.SIGKILL])
def test_nothing_runs_on(demo: subprocess.Popen[str], number: signal.Signals) -> None:
    services = _below(demo.pid)
    assert len(services) >= 3, "the API, the worker and the process that runs jobs"
    demo.send_signal(number)
    _, said = demo.communicate(timeout=PATIENCE)
    _await(lambda: not any(map(_runs, services)))
    if number in _GENTLE:
        assert demo.returncode == 128 + number
        assert said.splitlines()[-1] == "stopped; nothing runs on"


def _write_mask(path: Path) -> None:
    from demo import phantom

    labels, affine = phantom.knee(1, (32, 64, 64))
    phantom.write(path, labels, affine)


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _below(parent: int) -> list[int]:
    """The processes that `parent` started, and those that these did."""
    children = [
        int(child)
        for task in Path(f"/proc/{parent}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return [*children, *(below for child in children for below in _below(child))]


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _await(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.05)
