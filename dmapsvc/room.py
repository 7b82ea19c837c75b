"""Room in memory: how much of it what runs side by side may take together, and who runs alone.

How much anything needs is not decided here.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dmapsvc.errors import TooLarge

_LOOK = 0.2  # seconds between looks at whether one that waits should give up


class Room:
    """Memory to share, `budget` bytes. First come, first served: small ones do not starve a large one."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._left = budget
        self._inside = 0
        self._closed = False  # one that runs alone is inside
        self._line: deque[object] = deque()
        self._changed = threading.Condition()

    def check(self, size: int, name: str) -> None:
        """Raise TooLarge if a job of `size` bytes could never run here."""
        if size > self._budget:
            raise TooLarge(
                f"{name}: mapping it takes about {size / 2**30:.2f} GiB",
                f"the jobs of this worker may take {self._budget / 2**30:.2f} GiB",
                "Crop it, or give the worker more with DMAPSVC_MEMORY_BUDGET",
            )

    @contextmanager
    def hold(self, size: int, *, give_up: Callable[[], bool], alone: bool = False) -> Iterator[bool]:
        """Wait for `size` bytes, `alone` until nobody else is inside, and hold them for the block.

        Yields False, holding nothing, if `give_up()` was true while it waited.
        """
        entered = self._enter(size, alone, give_up)
        try:
            yield entered
        finally:
            if entered:
                self._leave(size)

    def wait_empty(self, seconds: float) -> bool:
        """Wait until nobody is inside, at most `seconds`; whether that came true."""
        with self._changed:
            return self._changed.wait_for(lambda: self._inside == 0, seconds)

    def _enter(self, size: int, alone: bool, give_up: Callable[[], bool]) -> bool:
        ticket = object()
        with self._changed:
            self._line.append(ticket)
            try:
                while not (self._line[0] is ticket and self._fits(size, alone)):
                    if give_up():
                        return False
                    self._changed.wait(_LOOK)
                self._left -= size
                self._inside += 1
                self._closed = alone
                return True
            finally:
                self._line.remove(ticket)
                self._changed.notify_all()

    def _fits(self, size: int, alone: bool) -> bool:
        return not self._closed and size <= self._left and not (alone and self._inside)

    def _leave(self, size: int) -> None:
        with self._changed:
            self._left += size
            self._inside -= 1
            self._closed = False
            self._changed.notify_all()
