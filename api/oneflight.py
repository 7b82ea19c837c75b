"""Asking what many want to know at once, and what may take long: one thread asks, and all wait for it.

What is asked, and what an answer that does not come means, is the caller's.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class OneFlight(Generic[T]):
    """The answer to a question, good for `keep` seconds after it came; asked by one thread at a time.

    The thread is none of the pool that serves requests, all of which may wait for the same database.
    """

    def __init__(self, *, keep: float = 0.0) -> None:
        self._keep = keep
        self._flight: Future[T] | None = None
        self._landed = 0.0

    async def answer(self, ask: Callable[[], T], *, patience: float) -> T:
        """What `ask` says, or said to another; raises what it raises, TimeoutError after `patience` seconds.

        To be called in the thread of the event loop.
        """
        flight = self._flight
        if flight is None or (flight.done() and time.monotonic() - self._landed >= self._keep):
            flight = self._flight = self._begin(ask)
        said = asyncio.wrap_future(flight)
        said.add_done_callback(_heed)
        return await asyncio.wait_for(asyncio.shield(said), patience)

    def _begin(self, ask: Callable[[], T]) -> Future[T]:
        flight: Future[T] = Future()
        flight.set_running_or_notify_cancel()

        def fly() -> None:
            try:
                said = ask()
            except Exception as error:
                self._landed = time.monotonic()
                flight.set_exception(error)
            else:
                self._landed = time.monotonic()
                flight.set_result(said)

        threading.Thread(target=fly, name="one flight", daemon=True).start()
        return flight


def _heed(said: asyncio.Future[T]) -> None:
    """Take note of an error that comes when nobody waits any more, which asyncio would log else."""
    if not said.cancelled():
        said.exception()
