"""Lanes: threads that each make one case after another, so that one is read or written while another is
mapped.

What making a case is, is given. Here is who makes which, how the news of it reach the caller's thread, and
how all of it stops.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType

from dmapsvc.errors import Superseded
from dmapsvc.pipeline.case import Progress
from dmapsvc.pipeline.events import Ending, Step
from dmapsvc.pipeline.folder import CaseFile

_GRACE = 2.0  # seconds that lanes have to stop; a step of writing takes less
_MOST = 16  # chosen: Python's part of a case, under the GIL, is some hundredths of it, and adds up over lanes


@dataclass(frozen=True, kw_only=True)
class Watch:
    """How a case under way is watched over, as `run_case` takes it.

    `wanted`: whether it should still be made. `progress`: how it gets on; raises Superseded once it is not.
    """

    wanted: Callable[[], bool]
    progress: Progress

    def part(self, begin: float, end: float) -> Watch:
        """The same for a part of the case: its progress of 0 to 1 is `begin` to `end` of the whole."""

        def progress(stage: str, fraction: float) -> None:
            self.progress(stage, begin + (end - begin) * fraction)

        return Watch(wanted=self.wanted, progress=progress)


Make = Callable[[CaseFile, Watch], Ending]
"""Makes a case, and never raises for what is wrong with its files."""


def default_lanes() -> int:
    """One more than the cores this process may use, so that none idles while a lane waits for a disk."""
    return min(_MOST, len(os.sched_getaffinity(0)) + 1)


class Lanes:
    """Makes `cases` in their order, `count` of them at once; a context manager, and iterated once.

    Iterating gives the reports of all lanes, those of one case in order, in the thread that iterates; an
    error that `make` raises is raised there. Leaving the block before the end stops the lanes: each ends its
    case at the next report without another word. That is waited for, but not for long: who is in the middle
    of a transform then still ends it, and publishes nothing.
    """

    def __init__(self, cases: Iterable[CaseFile], count: int, make: Make) -> None:
        self._cases, self._make = deque(cases), make
        self._stopping = threading.Event()
        self._reports = queue.SimpleQueue[Step | Ending | BaseException | None]()
        count = min(count, len(self._cases))
        # daemons: a process that was interrupted ends, whatever transform they are in
        self._threads = [
            threading.Thread(target=self._lane, name=f"lane {number}", daemon=True)
            for number in range(1, count + 1)
        ]

    def __enter__(self) -> Lanes:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        until = time.monotonic() + _GRACE
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def __iter__(self) -> Iterator[Step | Ending]:
        running = len(self._threads)
        while running:
            report = self._reports.get()
            if isinstance(report, BaseException):
                raise report
            if report is None:
                running -= 1
            else:
                yield report

    def _lane(self) -> None:
        try:
            while self._wanted() and (case := self._next()):
                self._reports.put(Step(case=case.case))
                watch = Watch(wanted=self._wanted, progress=self._progress(case.case))
                ending = self._make(case, watch)
                if self._wanted():  # one that was told to stop has ended for that reason alone
                    self._reports.put(ending)
        except BaseException as error:
            self._reports.put(error)
        finally:
            self._reports.put(None)

    def _next(self) -> CaseFile | None:
        try:
            return self._cases.popleft()
        except IndexError:
            return None

    def _wanted(self) -> bool:
        return not self._stopping.is_set()

    def _progress(self, case: str) -> Progress:
        furthest = 0.0  # a case that lost its device begins anew

        def progress(stage: str, fraction: float) -> None:
            nonlocal furthest
            if not self._wanted():
                raise Superseded("this run was stopped")
            furthest = max(furthest, fraction)
            self._reports.put(Step(case=case, stage=stage, fraction=furthest))

        return progress
