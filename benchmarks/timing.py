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


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way to do the work. `prepare(*arguments)` runs once in its process and returns what is measured."""

    name: str
    prepare: Callable[..., Callable[[], object]]
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds and CPU seconds of the fastest round; the most memory of any, above that before, in bytes."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def race(
    contenders: Sequence[Contender], rounds: int, progress: Callable[[str], None] = lambda name: None
) -> dict[str, Timing]:
    """Measure every contender `rounds` times, in turn, one at a time; `progress` hears whose turn it is."""
    spawn = multiprocessing.get_context("spawn")
    runs: dict[str, list[Timing]] = {contender.name: [] for contender in contenders}
    with ExitStack() as stack:
        processes = {
            contender.name: stack.enter_context(
                ProcessPoolExecutor(1, spawn, _prepare, (contender.prepare, contender.arguments))
            )
            for contender in contenders
        }
        for name, process in processes.items():
            progress(f"preparing {name}")
            process.submit(_ready).result()
        for turn in range(rounds):
            for name, process in processes.items():
                progress(f"round {turn + 1} of {rounds}: {name}")
                runs[name].append(process.submit(_measure).result())
    return {name: _best(timings) for name, timings in runs.items()}


def _best(runs: Sequence[Timing]) -> Timing:
    fastest = min(runs, key=lambda run: run.seconds)
    return Timing(
        seconds=fastest.seconds,
        cpu_seconds=fastest.cpu_seconds,
        peak_bytes=max(run.peak_bytes for run in runs),
    )


_work: Callable[[], object]  # of the contender whose process this is


def _prepare(prepare: Callable[..., Callable[[], object]], arguments: tuple[Any, ...]) -> None:
    global _work
    _work = prepare(*arguments)


def _ready() -> None:
    """Return once `_prepare` has."""


def _measure() -> Timing:
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before must not count as free to take
    _RESET_PEAK.write_text("5")
    before = _memory("VmRSS")
    cpu, wall = time.process_time(), time.perf_counter()
    result = _work()
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    del result
    return Timing(seconds=seconds, cpu_seconds=cpu_seconds, peak_bytes=_memory("VmHWM") - before)


def _memory(field: str) -> int:
    """`VmRSS`, the memory in use, or `VmHWM`, its peak since the last reset, in bytes.

    Not `ru_maxrss`: that also counts what the parent had at the fork, and never comes down.
    """
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024
