"""Streams that put off what is asked of them until somebody waits, as a card may.

So who forgets to wait is found out. The default stream does everything at once.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, ClassVar

from ._card import check

_current = threading.local()
_all: weakref.WeakSet[Stream] = weakref.WeakSet()


class Stream:
    """Work in order, done when it is waited for."""

    null: ClassVar[Stream]

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False) -> None:
        check()
        self._at_once = null
        self.ptr = 0 if null else id(self)
        self._waiting: list[Callable[[], object]] = []
        self._before: list[Stream] = []
        _all.add(self)

    def enqueue(self, work: Callable[[], object]) -> None:
        """Take on `work`; not CuPy's."""
        check()
        self._waiting.append(work)
        if self._at_once:
            self.synchronize()

    def synchronize(self) -> None:
        check()
        waiting, self._waiting = self._waiting, []
        for work in waiting:
            work()

    @property
    def done(self) -> bool:
        return not self._waiting

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        self.enqueue(event.synchronize)

    def use(self) -> Stream:
        _current.stream = self
        return self

    def __enter__(self) -> Stream:
        check()
        self._before.append(get_current_stream())
        return self.use()

    def __exit__(self, *error: object) -> None:
        self._before.pop().use()


class Event:
    """A moment on a stream."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        check()
        self._stream: Stream | None = None
        self.reached: float | None = None

    def record(self, stream: Stream | None = None) -> None:
        self._stream, self.reached = stream or get_current_stream(), None
        self._stream.enqueue(self._reach)

    def _reach(self) -> None:
        self.reached = time.perf_counter()

    def synchronize(self) -> None:
        if self._stream is not None and self.reached is None:
            self._stream.synchronize()


def get_elapsed_time(start: Event, end: Event) -> float:
    """Milliseconds."""
    assert start.reached is not None
    assert end.reached is not None
    return 1000 * (end.reached - start.reached)


class Device:
    """The only card."""

    def __init__(self, device: int | None = None) -> None:
        self.id = device or 0
        self.compute_capability = "90"

    def synchronize(self) -> None:
        check()
        for stream in tuple(_all):
            stream.synchronize()

    def use(self) -> None:
        check()

    def __enter__(self) -> Device:
        check()
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing to restore."""


Stream.null = Stream(null=True)


def get_current_stream(device_id: int | None = None) -> Stream:
    """The stream of the innermost `with` of this thread."""
    stream: Stream = getattr(_current, "stream", Stream.null)
    return stream


def synchronize_everything(*_: Any) -> None:
    """As `Device.synchronize`."""
    Device().synchronize()
