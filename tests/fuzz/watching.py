"""The other end of the pipe: counts what the reading process says, and notices when it says nothing."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import IO

import psutil

Command = Sequence[str]

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 10.0  # seconds for one input
START = 120.0  # seconds until the first input is read, on a machine that has other things to do
STARVED = 50.0  # seconds more for a process that had no core: others keep the machine busy
SAMPLE_EVERY = 50  # inputs
READING = (sys.executable, "-m", "tests.fuzz.reading")


@dataclass
class Watched:
    """What became of the inputs, the slowest in seconds of a core, what was wrong, and bytes of memory."""

    verdicts: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, int] = (0.0, -1)
    faults: list[str] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    @property
    def inputs(self) -> int:
        """How many were read to the end."""
        return self.verdicts.total()


def growth(memory: list[int]) -> float:
    """The memory of the last quarter of a run against the one before, as a ratio of medians.

    What comes before is warming up: every reader, codec and route is there once it was needed once.
    """
    quarter = len(memory) // 4
    if quarter < 4:
        return 1.0
    return median(memory[-quarter:]) / median(memory[-2 * quarter : -quarter])


def watch_reading(
    first: int, *, seconds: float = float("inf"), inputs: float = float("inf"), command: Command = READING
) -> Watched:
    """Have inputs read from number `first` on, for so long or so many; one process, begun again if it dies.

    A hang, a death and a fault of the judge each are a line of `faults` that names the input.
    """
    watched = Watched()
    end, number = time.monotonic() + seconds, first
    while time.monotonic() < end and number < first + inputs:
        number = _watch_one(watched, [*command, str(number)], number, end, first + inputs)
    return watched


def _watch_one(watched: Watched, command: Command, number: int, end: float, last: float) -> int:
    """Watch one process; the number of the first input that it has not come to."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines, patience, used = _Lines(process.stdout), START, 0.0
    try:
        while time.monotonic() < end and number < last:
            said = lines.next(patience)
            if said is None and not lines.ended and _processor_time(process) - used < patience / 2:
                said = lines.next(STARVED)
            if said is None:
                fate = "hangs" if process.poll() is None and not lines.ended else "ended its process"
                watched.faults.append(f"input {number}: {fate}")
                return number + 1
            words, patience, before = said.split(maxsplit=2), PATIENCE, used
            used = _processor_time(process)
            if words[1] == "reads":
                number = int(words[0])
            else:
                _count(watched, number, used - before, int(words[1]), words[2].strip())
                number += 1
    finally:
        process.kill()
        process.wait()
    return number


def _processor_time(process: subprocess.Popen[str]) -> float:
    """Seconds of a core that a process has had; none once it is gone."""
    try:
        return sum(psutil.Process(process.pid).cpu_times()[:2])
    except psutil.Error:
        return 0.0


def _count(watched: Watched, number: int, took: float, memory: int, verdict: str) -> None:
    watched.verdicts[verdict.partition(" ")[0]] += 1
    watched.slowest = max(watched.slowest, (took, number))
    if watched.inputs % SAMPLE_EVERY == 0:
        watched.memory.append(memory)
    if verdict.startswith("fault"):
        watched.faults.append(f"input {number}: {verdict}")


class _Lines:
    """The lines of a pipe, waited for no longer than one is patient."""

    def __init__(self, pipe: IO[str]) -> None:
        self.ended = False
        self._said: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._listen, args=(pipe,), daemon=True).start()

    def next(self, patience: float) -> str | None:
        """The next line; None where none comes in so many seconds, or ever."""
        try:
            return self._said.get(timeout=patience)
        except queue.Empty:
            return None

    def _listen(self, pipe: IO[str]) -> None:
        with pipe:
            for line in pipe:
                self._said.put(line)
        self.ended = True
        self._said.put(None)
