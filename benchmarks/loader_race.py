"""A loader in a process of its own, measured: how soon, how fast, at what cost.

Who runs, and what is made of the figures, is not decided here.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil

from benchmarks.loader_feed import Batches, Delivered, Feed
from benchmarks.loader_memory import Memory, cpu_seconds

_EVERY = 0.2  # seconds between two looks at the memory; nobody looks while a rate is measured
_ENDING = 30.0  # seconds that a process may take to end


@dataclass(frozen=True, kw_only=True)
class Way:
    """A contender: the format that it reads, and how it starts.

    `modules` are imported, and then `load` is called, before the clock runs: what a process does once,
    whatever it reads. `checksums`: whether what is read is verified, in words.
    """

    name: str
    format: str
    batches: Batches
    modules: tuple[str, ...]
    checksums: str
    load: Callable[[], object] | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long a loader is measured: after `skipped` batches for `seconds`, then watched for `watched`
    seconds.

    `first`: instead, the first so many patches from the start on count, but no more than come in `seconds`.
    `cores`: as many may be used.
    """

    seconds: float
    skipped: int = 20
    watched: float = 1.0
    first: int | None = None
    cores: int = 2


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run: the patches that were counted, with their wall clock and the CPU seconds of all processes.

    `ready_seconds`: from the start of the process until all is imported and loaded; `first_seconds`: from
    then to the first batch; `peak`: the most memory from start to end.
    """

    ready_seconds: float
    first_seconds: float
    patches: int
    seconds: float
    cpu_seconds: float
    peak: Memory

    @property
    def rate(self) -> float:
        """Patches a second."""
        return self.patches / self.seconds

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds a patch."""
        return self.cpu_seconds / self.patches * 1000


def measure(way: Way, feed: Feed, plan: Plan) -> Run:
    """Start `way` in a fresh process, measure it, and end it.

    Raises RuntimeError, with the last words of the process, if it fails.
    """
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe(duplex=False)
    with tempfile.NamedTemporaryFile() as said:
        process = spawn.Process(target=_serve, args=(way, feed, plan, time.perf_counter(), there, said.name))
        process.start()
        there.close()
        try:
            found, peak = _watch(process, here)
        except EOFError:
            words = Path(said.name).read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{way.name} failed: {words}") from None
        finally:
            _end(process)
    return Run(**found, peak=peak)


def _watch(process: BaseProcess, heard: Connection) -> tuple[dict[str, Any], Memory]:
    """What the process tells at its end, and the most memory seen until then.

    It says True when it may be looked at, False when its rate is measured.
    """
    assert process.pid is not None
    watched, looking = psutil.Process(process.pid), True
    seen: list[Memory] = []
    while True:
        while heard.poll(_EVERY):
            word = heard.recv()
            if isinstance(word, dict):
                return word, Memory.peak(seen)
            looking = word
        if looking:
            seen.append(Memory.of(watched))


def _end(process: BaseProcess) -> None:
    assert process.pid is not None
    below = psutil.Process(process.pid).children(recursive=True) if process.is_alive() else []
    process.join(_ENDING)
    for each in below:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    if process.is_alive():
        process.kill()
        process.join()


def _serve(way: Way, feed: Feed, plan: Plan, began: float, heard: Connection, log: str) -> None:
    """The process of a contender. `began`: its start, by the same clock, which all processes share."""
    redirect(log)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: plan.cores])
    for module in way.modules:
        import_module(module)
    if way.load is not None:
        way.load()
    ready = time.perf_counter()
    spent = cpu_seconds(psutil.Process())
    batches = way.batches(feed)
    next(batches)
    first = time.perf_counter()
    told = {"ready_seconds": ready - began, "first_seconds": first - ready}
    if plan.first is not None:
        patches = feed.batch + _deliver(batches, feed, first + plan.seconds, plan.first - feed.batch)
        seconds = time.perf_counter() - ready
        spent = cpu_seconds(psutil.Process()) - spent
    else:
        for _ in range(plan.skipped):
            next(batches)
        heard.send(False)
        spent, start = cpu_seconds(psutil.Process()), time.perf_counter()
        patches = _deliver(batches, feed, start + plan.seconds)
        seconds = time.perf_counter() - start
        spent = cpu_seconds(psutil.Process()) - spent
        heard.send(True)
        _deliver(batches, feed, time.perf_counter() + plan.watched)
    heard.send({**told, "patches": patches, "seconds": seconds, "cpu_seconds": spent})
    heard.close()
    batches.close()


def _deliver(batches: Iterator[Delivered], feed: Feed, until: float, most: float = float("inf")) -> int:
    """Take batches until it is `until`, but no more than `most` patches; how many patches came."""
    patches = 0
    while time.perf_counter() < until and patches < most:
        next(batches)
        patches += feed.batch
    return patches


def redirect(log: str) -> None:
    """What this process and those it starts say goes into the file `log` from now on."""
    with Path(log).open("ab") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
