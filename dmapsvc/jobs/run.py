"""A run as the function that does the work sees it: what is asked for, is it still wanted, progress."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

from dmapsvc.errors import Superseded
from dmapsvc.jobs.ledger import HICCUPS, Ledger
from dmapsvc.jobs.record import Request
from dmapsvc.jobs.table import Row

_TICK = 0.25  # seconds between writes of progress, which also ask whether to stop


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run that published tells: notes, seconds by stage, the distance backend if one was used, and
    the file's sha256 if it was not known before.
    """

    notes: tuple[str, ...] = ()
    seconds: dict[str, float]
    backend: str | None = None
    sha256: str | None = None


class HandedBack(Exception):
    """The worker is stopping; the run goes back to the queue."""


class Run:
    """One run: `request`, its file at `path`, and the case's `revision` that publishing must carry."""

    def __init__(self, row: Row, spool: Path, ledger: Ledger, stopping: threading.Event) -> None:
        self.name: str = row.run
        self.request = Request.from_json(row.request)
        self.path = spool / (self.request.spool or self.request.source or "")
        self.revision: int = row.revision
        self._ledger = ledger
        self._stopping = stopping
        self._stage: str | None = None
        self._fraction = 0.0
        self._told = 0.0
        self.moved = time.monotonic()  # when progress was last told; the watchdog's to read

    def wanted(self) -> bool:
        """Whether it may publish: not cancelled or forgotten, and no newer one of its case was accepted."""
        return self._ledger.wanted(self.name)

    def progress(self, stage: str, fraction: float) -> None:
        """Tell the stage and the part of the whole run that is done, 0 to 1; cheap enough for any loop.

        Raises Superseded if the run was cancelled, HandedBack if its worker stops.
        """
        if self._stopping.is_set():
            raise HandedBack
        now = self.moved = time.monotonic()
        if stage == self._stage and now - self._told < _TICK:
            return
        self._stage, self._fraction, self._told = stage, fraction, now
        try:
            goes_on = self._ledger.tell(self.name, stage, 100 * min(max(fraction, 0.0), 1.0))
        except HICCUPS:
            return  # the database is busy; progress can wait for the next call
        if not goes_on:
            raise Superseded(f"{self.request.filename}: this run was told to stop")

    def heed(self) -> None:
        """As `progress`, with nothing new to tell, by one who waits for its turn."""
        if self._stage is not None:
            self.progress(self._stage, self._fraction)
