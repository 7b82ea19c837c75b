"""A lock in a bucket: an object that its holder writes anew again and again, as long as it lives.

Whoever waits watches it by its own clock: one that stays the same for 20 seconds is a dead process's. So
no clocks are compared. A holder that stalls, or is cut off, may be taken for dead and lives: what it may
still do is bounded by conditions on what it writes, and by `check` before what knows no condition.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from contextlib import suppress
from types import TracebackType

from dmapsvc.errors import StoreAway
from dmapsvc.store.objects import ChangedError, Content, Objects

TTL = 20.0  # seconds; twice what one request may take
DEAD_AFTER = TTL  # seconds without a sign of life
_BEATS = 4  # in TTL
_LOOKS = 40  # of who waits, in DEAD_AFTER
_FREE = b""

_log = logging.getLogger(__name__)


class Lease:
    """The lock at `key`, held inside a with block. An object of no bytes is left behind."""

    def __init__(self, objects: Objects, key: str) -> None:
        self._objects, self._key = objects, key
        self._holder, self._beats = uuid.uuid4().hex, 0
        self._tag: str | None = None
        self._until = 0.0
        self._ending = threading.Event()
        self._beating: threading.Thread | None = None

    def __enter__(self) -> Lease:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self, *, only_dead: bool = False) -> bool:
        """Wait until it is ours; with `only_dead`, False as soon as its holder shows life."""
        watched, since = None, 0.0
        while True:
            found = self._objects.get(self._key)
            if found is not None and found.data != _FREE:
                if found.tag != watched:
                    if only_dead and watched is not None:
                        return False
                    watched, since = found.tag, time.monotonic()
                if time.monotonic() - since < DEAD_AFTER:
                    time.sleep(DEAD_AFTER / _LOOKS)
                    continue
                _log.warning("%s: its holder is taken for dead", self._key)
            if self._take(found):
                self._beating = threading.Thread(target=self._beat, daemon=True)
                self._beating.start()
                return True

    def check(self) -> None:
        """Raise StoreAway unless it is ours for longer than one small request may take."""
        if time.monotonic() + TTL / 2 > self._until:
            raise lost(self._key)

    def release(self, *, remove: bool = False) -> None:
        """Let go of it; `remove`: leave nothing behind."""
        self._ending.set()
        if self._beating is not None:
            self._beating.join()
        with suppress(ChangedError, StoreAway):  # it will be taken for dead
            if remove:
                self.check()
                self._objects.delete([self._key])
            elif self._tag is not None:
                self._objects.put(self._key, _FREE, tag=self._tag)

    def _take(self, found: Content | None) -> bool:
        try:
            self._write(None if found is None else found.tag)
        except ChangedError:  # another was faster
            return False
        return True

    def _beat(self) -> None:
        while not self._ending.wait(TTL / _BEATS):
            try:
                self._write(self._tag)
            except ChangedError:
                _log.warning("%s: another took over", self._key)
                self._tag, self._until = None, 0.0
                return
            except StoreAway:  # logged; the next beat tries again
                continue

    def _write(self, tag: str | None) -> None:
        began = time.monotonic()
        # the same again after an attempt whose answer was lost
        self._tag = self._objects.put(self._key, f"{self._holder} {self._beats}".encode(), tag=tag)
        self._beats += 1
        self._until = began + TTL


def lost(what: str) -> StoreAway:
    """The error for work that another process may have taken over meanwhile."""
    return StoreAway(
        f"{what}: the store was away for so long that another may have taken over",
        remedy="Try again once the bucket answers",
    )
