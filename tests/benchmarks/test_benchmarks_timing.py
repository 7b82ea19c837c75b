"""What is measured is what happened: time, memory, processes, rounds."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.processes import run
from benchmarks.timing import Contender, race

MEBI = 2**20


def sleeping(log: Path, name: str) -> Callable[[], object]:
    def work() -> None:
        with log.open("a") as file:
            print(name, os.getpid(), file=file)
        time.sleep(0.05)

    return work


def filling(mebibytes: int) -> Callable[[], object]:
    before = np.ones(50 * MEBI, np.uint8)  # stands for the input, and counts for nothing
    return lambda: (before, np.ones(mebibytes * MEBI, np.uint8))


def test_a_race_takes_turns_each_in_its_process(tmp_path: Path) -> None:
    log = tmp_path / "log"
    contenders = [
        Contender(name=name, prepare=sleeping, arguments=(log, name), process=process)
        for name, process in (("a", ""), ("b", "shared"), ("c", "shared"))
    ]
    timings = race(contenders, rounds=3, patience=10.0)
    turns = [line.split() for line in log.read_text().splitlines()]
    assert [name for name, _ in turns] == ["a", "b", "c"] * 3
    process = dict(turns)
    assert process["b"] == process["c"] != process["a"] != str(os.getpid())
    assert all(timing.rounds == 3 and timing.seconds >= 0.05 for timing in timings.values())
    assert all(timing.cpu_seconds < timing.seconds for timing in timings.values())


def test_patience_spares_the_slow_their_further_rounds(tmp_path: Path) -> None:
    contenders = [Contender(name="slow", prepare=sleeping, arguments=(tmp_path / "log", "slow"))]
    assert race(contenders, rounds=5, patience=0.06)["slow"].rounds == 2


def test_memory_is_what_the_work_took_above_what_was_there() -> None:
    (timing,) = race([Contender(name="filling", prepare=filling, arguments=(30,))], rounds=2).values()
    assert 30 * MEBI <= timing.peak_bytes < 34 * MEBI


def test_a_command_is_measured_with_the_processes_that_it_starts() -> None:
    child = "import time; full = bytearray(60 << 20)\nwhile time.process_time() < 0.4: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    alone = run([sys.executable, "-c", "import subprocess"])
    usage = run([sys.executable, "-c", parent])
    assert usage.cpu_seconds >= 0.3
    assert usage.seconds >= 0.3
    assert usage.peak_bytes > 60 * MEBI
    assert alone.peak_bytes < 60 * MEBI


def test_a_command_that_fails_says_so() -> None:
    with pytest.raises(RuntimeError, match="ended with 1: no such luck"):
        run([sys.executable, "-c", "import sys; sys.exit('no such luck')"])
