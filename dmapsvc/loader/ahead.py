"""Things made ahead by threads and handed out in order.

It knows nothing of patches: `make` turns a number into a thing, and how many exist at once is bounded.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, Self, TypeVar

Thing = TypeVar("Thing")
Make = Callable[[int], Thing]

_PATIENCE = 5.0  # seconds; a thread that waits for a server longer is left behind


class Ahead(Generic[Thing]):
    """`make(number)` for each number of `numbers`, by `threads` threads, in the order of the numbers.

    An iterator, which ends after the last thing, and once it is closed. Up to `most` things are made or being
    made beside those handed out; the first alone, so that nothing takes from it what it needs. `start` is
    called by each thread and gives its `make`. Whatever is raised in a thread is raised when its number's
    turn comes, as it was.

    The threads end with `close`, when this object is collected, and when the interpreter exits; a thing that
    is being made is finished first.
    """

    def __init__(
        self, start: Callable[[], Make[Thing]], numbers: Iterator[int], *, threads: int, most: int
    ) -> None:
        self._desk = _Desk[Thing](numbers, most)
        self._threads = [
            threading.Thread(target=_work, args=(self._desk, start), name=f"dmapsvc-ahead-{n}", daemon=True)
            for n in range(threads)
        ]
        self._end = weakref.finalize(self, _end, self._desk, self._threads, os.getpid())
        for thread in self._threads:
            thread.start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Thing:
        return self._desk.take()

    def wait_started(self) -> None:
        """Until `start` is through in every thread."""
        self._desk.wait_started(len(self._threads))

    def close(self) -> None:
        """End the threads."""
        self._end()


class _Desk(Generic[Thing]):
    """What the threads and the taker share."""

    def __init__(self, numbers: Iterator[int], most: int) -> None:
        self._numbers, self._most = numbers, most
        self._changed = threading.Condition()
        self._claimed: deque[int] = deque()  # not handed out yet, in order
        self._made: dict[int, Thing | BaseException] = {}
        self._started = 0
        self._begun = self._exhausted = self._closed = False

    def claim(self) -> int | None:
        """The next number to make, None when there is nothing more to do."""
        with self._changed:
            self._changed.wait_for(self._may_claim)
            number = None if self._closed else next(self._numbers, None)
            if number is None:
                self._exhausted = True
                self._changed.notify_all()
            else:
                self._claimed.append(number)
            return number

    def put(self, number: int, thing: Thing | BaseException) -> None:
        with self._changed:
            self._made[number] = thing
            self._begun = True
            self._changed.notify_all()

    def take(self) -> Thing:
        with self._changed:
            self._changed.wait_for(self._is_next_decided)
            if self._closed or not self._claimed:
                raise StopIteration
            thing = self._made.pop(self._claimed.popleft())
            self._changed.notify_all()
        if isinstance(thing, BaseException):
            raise thing
        return thing

    def started(self) -> None:
        with self._changed:
            self._started += 1
            self._changed.notify_all()

    def wait_started(self, threads: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._started == threads)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._made.clear()
            self._changed.notify_all()

    def _may_claim(self) -> bool:
        return self._closed or (len(self._claimed) < self._most and (self._begun or not self._claimed))

    def _is_next_decided(self) -> bool:
        if self._claimed:
            return self._closed or self._claimed[0] in self._made
        return self._closed or self._exhausted


def _work(desk: _Desk[Thing], start: Callable[[], Make[Thing]]) -> None:
    try:
        make = start()
    except BaseException as error:
        make = _raising(error)
    desk.started()
    while (number := desk.claim()) is not None:
        try:
            thing: Thing | BaseException = make(number)
        except BaseException as error:
            thing = error
        desk.put(number, thing)
        del thing  # the taker's alone: memory is used again once it is gone


def _raising(error: BaseException) -> Make[Thing]:
    def make(number: int) -> Thing:
        raise error

    return make


def _end(desk: _Desk[Thing], threads: list[threading.Thread], process: int) -> None:
    if os.getpid() != process:  # a fork: it has neither the threads nor, perhaps, a lock that is free
        return
    desk.close()
    if threading.current_thread() not in threads:  # one of them may be who collects the garbage
        deadline = time.monotonic() + _PATIENCE
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
