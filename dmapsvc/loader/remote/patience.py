"""Waiting for a server that is away: trying again, with pauses that grow, for so long and no longer."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from dmapsvc.errors import DmapsvcError, ServerProblem, ServerUnreachable

PATIENCE = 600.0  # seconds; a server that is updated or a machine that starts again is back sooner
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 15.0  # seconds
_BUSY = 429  # the one problem below 500 that ends by itself

_log = logging.getLogger(__name__)
Result = TypeVar("Result")


class Stopped(Exception):
    """Nobody waits any more."""


class Patience:
    """How long the server at `where` is waited for: `seconds` without an answer to anybody, or, if it answers
    others, without one that gets this thread on.

    It is said once when the server seems away, and once when it is back.
    """

    def __init__(self, where: str, seconds: float) -> None:
        self._where, self._seconds = where, seconds
        self._away_since: float | None = None  # the first failure after which nothing worked
        self._said = False
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End every pause; what is tried from now on raises Stopped where it would wait."""
        self._stopped.set()

    def check(self) -> None:
        """Raises Stopped once that is so."""
        if self._stopped.is_set():
            raise Stopped

    def insist(self, attempt: Callable[[], Result], progress: Callable[[], int] = lambda: 0) -> Result:
        """What `attempt` gives, tried until the server answers; what changes `progress` counts as an answer.

        Raises what `attempt` raises, if trying again cannot help; ServerUnreachable once patience is over.
        """
        pause, reached, stuck_since = _FIRST_PAUSE, progress(), time.monotonic()
        while True:
            self.check()
            try:
                result = attempt()
            except (ServerUnreachable, ServerProblem) as error:
                if not _is_away(error):
                    raise
                if progress() != reached:
                    self.note_success()
                    pause, reached, stuck_since = _FIRST_PAUSE, progress(), time.monotonic()
                left = self._note_failure(error, stuck_since)
                if self._stopped.wait(min(left, pause * random.uniform(0.75, 1.25))):
                    raise Stopped from None
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self.note_success()
                return result

    def note_success(self) -> None:
        """The server has answered, or sent bytes that were not there before."""
        with self._lock:
            since, said = self._away_since, self._said
            self._away_since, self._said = None, False
        if since is not None and said:
            _log.warning("%s is back after %.0f s", self._where, time.monotonic() - since)

    def _note_failure(self, error: DmapsvcError, stuck_since: float) -> float:
        """The seconds for which there is patience left; raises if there are none."""
        if self._seconds == 0:
            raise error
        now = time.monotonic()
        with self._lock:
            first = self._away_since is None
            away_since = self._away_since = now if self._away_since is None else self._away_since
            waited = now - min(away_since, stuck_since)
            say = waited < self._seconds and not (first or self._said)
            self._said = self._said or say
        if waited >= self._seconds:
            raise ServerUnreachable(
                f"{self._where}: away for {waited:.0f} s",
                error.found,
                "See that it runs, then start again from the last checkpoint",
            ) from error
        if say:
            _log.warning("%s; trying again for %.0f s", error.found, self._seconds)
        return self._seconds - waited


def _is_away(error: ServerUnreachable | ServerProblem) -> bool:
    """Whether it may be another answer later."""
    return (
        isinstance(error, ServerUnreachable) or error.problem.status >= 500 or error.problem.status == _BUSY
    )
