"""What ends a worker that must not go on: a lock that cannot be confirmed, a run that stands still.

A thread cannot be ended, so the process is. The lock's guard ends it at once, by `os._exit`; for a run that
stalls there is time to put things in order first, which is the executor's.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dmapsvc.jobs.locks import Lock
from dmapsvc.jobs.run import Run

_LOOK = 0.25  # seconds between looks at the clock; a tenth of the limit if that is less

_log = logging.getLogger(__name__)


class LockGuard:
    """Ends this process before anybody else can take its `lock`.

    One thread asks the lock again and again, which may block; another looks when it was last confirmed.
    `end` is told why.
    """

    def __init__(self, lock: Lock, end: Callable[[str], None] | None = None) -> None:
        self._lock = lock
        self._end = end or _end_process
        self._stopped = threading.Event()
        self._confirmed = time.monotonic()

    def start(self) -> None:
        """Start, if it is a lock that can be lost."""
        if self._lock.patience is not None:
            for loop in (self._ask, self._watch):
                threading.Thread(target=loop, args=(self._lock.patience,), daemon=True).start()

    def stop(self) -> None:
        """Let the lock be released."""
        self._stopped.set()

    def _ask(self, patience: float) -> None:
        while not self._stopped.wait(patience / 10):
            asked = time.monotonic()  # the lock's time runs from the question at the earliest
            if self._lock.holds():
                self._confirmed = asked
            elif not self._stopped.is_set():
                self._end("the database has lost this worker's lock")

    def _watch(self, patience: float) -> None:
        while not self._stopped.wait(min(_LOOK, patience / 10)):
            if time.monotonic() - self._confirmed > patience:
                self._end(f"this worker's lock could not be confirmed for {patience:.3g} s")


class Watchdog:
    """Calls `on_stall` with a run that has told no progress for `limit` seconds."""

    def __init__(self, limit: float, on_stall: Callable[[Run], None]) -> None:
        self._limit = limit
        self._on_stall = on_stall
        self._runs: set[Run] = set()
        self._changing = threading.Lock()

    def start(self) -> None:
        """Look, in a thread of its own, until the process ends or a run stalls."""
        threading.Thread(target=self._look, name="watchdog", daemon=True).start()

    @contextmanager
    def watching(self, run: Run) -> Iterator[None]:
        """Have an eye on an attempt at `run` for the block."""
        run.moved = time.monotonic()
        with self._changing:
            self._runs.add(run)
        try:
            yield
        finally:
            with self._changing:
                self._runs.discard(run)

    def _look(self) -> None:
        while True:
            time.sleep(min(_LOOK, self._limit / 10))
            with self._changing:
                latest = min(self._runs, key=lambda run: run.moved, default=None)
            if latest is not None and time.monotonic() - latest.moved > self._limit:
                self._on_stall(latest)
                return


def _end_process(reason: str) -> None:
    _log.critical("%s; it ends at once, another does its jobs", reason)
    os._exit(1)
