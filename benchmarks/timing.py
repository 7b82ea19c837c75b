"""Contenders measured side by side in one run: seconds, CPU seconds and peak memory of each.

Each lives in a process of its own, so that its memory is its own; rounds go from one to the next, so that
a machine that slows down slows all of them.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")
_RESET_PEAK = Path("/proc/self/clear_refs")

Progress = Callable[[int, int, str], None]
"""Hears how many steps are done, of how many, and whose turn it is."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way to do the work. `prepare(*arguments)` runs once in its process and returns what is measured.

    Contenders with the same `process` share one, in which they take turns; left out, each has its own.
    """

    name: str
    prepare: Callable[..., Callable[[], object]]
    arguments: tuple[Any, ...] = ()
    process: str = ""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds and CPU seconds of the fastest round; the most memory of any, above that before, in bytes."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    rounds: int = 1


def race(
    contenders: Sequence[Contender],
    rounds: int,
    *,
    patience: float = float("inf"),
    progress: Progress = lambda done, steps, name: None,
) -> dict[str, Timing]:
    """Measure every contender `rounds` times, in turn, one at a time.

    Whoever has taken `patience` seconds in all is spared its further rounds.
    """
    runs: dict[str, list[Timing]] = {contender.name: [] for contender in contenders}
    steps = len(contenders) * (rounds + 1)
    with ExitStack() as stack:
        processes = _processes(contenders, stack)
        for step, contender in enumerate(contenders):
            progress(step, steps, f"preparing {contender.name}")
            process = processes[contender.process or contender.name]
            process.submit(_prepare, contender.name, contender.prepare, contender.arguments).result()
        for step in range(len(contenders), steps):
            turn, contender = step // len(contenders), contenders[step % len(contenders)]
            if sum(run.seconds for run in runs[contender.name]) < patience:
                progress(step, steps, f"round {turn} of {rounds}: {contender.name}")
                process = processes[contender.process or contender.name]
                runs[contender.name].append(process.submit(_measure, contender.name).result())
    return {name: _best(timings) for name, timings in runs.items()}


def _processes(contenders: Sequence[Contender], stack: ExitStack) -> dict[str, ProcessPoolExecutor]:
    spawn = multiprocessing.get_context("spawn")
    names = dict.fromkeys(contender.process or contender.name for contender in contenders)
    return {name: stack.enter_context(ProcessPoolExecutor(1, spawn)) for name in names}


def _best(runs: Sequence[Timing]) -> Timing:
    fastest = min(runs, key=lambda run: run.seconds)
    return Timing(
        seconds=fastest.seconds,
        cpu_seconds=fastest.cpu_seconds,
        peak_bytes=max(run.peak_bytes for run in runs),
        rounds=len(runs),
    )


_works: dict[str, Callable[[], object]] = {}  # of the contenders whose process this is


def _prepare(name: str, prepare: Callable[..., Callable[[], object]], arguments: tuple[Any, ...]) -> None:
    _works[name] = prepare(*arguments)


def _measure(name: str) -> Timing:
    work = _works[name]
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before must not count as free to take
    _RESET_PEAK.write_text("5")
    before = _memory("VmRSS")
    cpu, wall = time.process_time(), time.perf_counter()
    result = work()
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    del result
    return Timing(seconds=seconds, cpu_seconds=cpu_seconds, peak_bytes=_memory("VmHWM") - before)


def _memory(field: str) -> int:
    """`VmRSS`, the memory in use, or `VmHWM`, its peak since the last reset, in bytes.

    Not `ru_maxrss`: that also counts what the parent had at the fork, and never comes down.
    """
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024
