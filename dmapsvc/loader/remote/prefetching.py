"""Which case is fetched when: in the order in which they are wanted, ahead as far as the cache has room."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dmapsvc.loader.remote.patience import Stopped

AT_ONCE = 2  # cases: while one is verified the other comes in, and the first is not held up by the tenth
_PATIENCE = 5.0  # seconds; a thread that waits for a server is left behind when the interpreter ends

Fetch = Callable[[str], Path]


class Prefetcher:
    """Calls `fetch` for the cases that are wanted and not here, in their order, as long as they take half of
    `limit()`.

    The other half is for the cases that are in use. What `fetch` raises is dropped: whoever needs the case
    fetches it again and sees. The threads begin with the first `want`, and end with `close`, when this object
    is collected and when the interpreter exits.
    """

    def __init__(self, fetch: Fetch, is_here: Callable[[str], bool], limit: Callable[[], int]) -> None:
        self._list = _List()
        self._threads: list[threading.Thread] = []
        self._starting = threading.Lock()
        self._fetch, self._is_here, self._limit = fetch, is_here, limit
        self.close = weakref.finalize(self, _end, self._list, self._threads)

    def want(self, cases: Sequence[str]) -> None:
        """Fetch `cases`, the first one first, after those that were wanted before and not used yet."""
        missing = [case for case in cases if not self._is_here(case)]
        if not missing:
            return
        self._list.write(missing)
        with self._starting:
            if not self._threads:
                self._start()

    @contextmanager
    def turn(self, case: str) -> Iterator[None]:
        """For the block, fetch `case` oneself: once those that are wanted before it are through and nobody
        else of this process is at it, or at once if it is here by then.
        """
        is_first = self._list.begin(case, self._is_here)
        try:
            yield
        finally:
            if is_first:
                self._list.end(case)

    def note_use(self, case: str) -> None:
        """Somebody uses `case` now: it is no longer ahead of anybody."""
        self._list.strike(case)

    def _start(self) -> None:
        work = (self._list, self._fetch, self._limit)
        self._threads += [
            threading.Thread(target=_work, args=work, name=f"dmapsvc-fetch-{n}", daemon=True)
            for n in range(AT_ONCE)
        ]
        for thread in self._threads:
            thread.start()


class _List:
    """What is wanted and how far it has come, shared by the threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._wanted: list[str] = []
        self._begun: set[str] = set()  # being fetched
        self._ready: dict[str, int] = {}  # fetched, but not used; their bytes
        self._largest = 0
        self._room = 0
        self._closed = False

    def write(self, cases: Sequence[str]) -> None:
        with self._changed:
            self._wanted = list(dict.fromkeys((*self._wanted, *cases)))
            self._changed.notify_all()

    def strike(self, case: str) -> None:
        with self._changed:
            if case in self._wanted:
                self._wanted.remove(case)
            self._ready.pop(case, None)
            self._changed.notify_all()

    def claim(self, room: int) -> str | None:
        """The next case to fetch, once what is ahead takes less than `room`; None once closed."""
        with self._changed:
            self._room = room
            self._changed.wait_for(lambda: self._closed or (self._is_free() and self._next() is not None))
            case = None if self._closed else self._next()
            if case is not None:
                self._begun.add(case)
            return case

    def done(self, case: str, size: int) -> None:
        """A case that was claimed is there and takes `size` bytes, or was given up."""
        with self._changed:
            if case in self._wanted:
                self._ready[case] = size
            self._largest = max(self._largest, size)
        self.end(case)

    def begin(self, case: str, is_here: Callable[[str], bool]) -> bool:
        """Wait for the turn of `case`, which is needed now; False if it was fetched meanwhile."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or is_here(case) or (self._is_free() and self._is_turn(case))
            )
            if is_here(case):
                return False
            self._begun.add(case)
            return True

    def end(self, case: str) -> None:
        with self._changed:
            self._begun.discard(case)
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _is_free(self) -> bool:
        return len(self._begun) < AT_ONCE

    def _is_turn(self, case: str) -> bool:
        if case in self._begun:
            return False
        first = self._next()
        return first is None or case not in self._wanted or self._index(case) <= self._index(first)

    def _index(self, case: str) -> int:
        return self._wanted.index(case)

    def _next(self) -> str | None:
        ahead = sum(self._ready.values()) + self._largest * (len(self._begun) + 1)
        if ahead > self._room:
            return None
        return next((case for case in self._wanted if not (case in self._begun or case in self._ready)), None)


def _work(wanted: _List, fetch: Fetch, limit: Callable[[], int]) -> None:
    while (case := wanted.claim(limit() // 2)) is not None:
        try:
            size = sum(file.stat().st_size for file in fetch(case).rglob("*") if file.is_file())
        except Stopped:
            return
        except Exception:  # of whatever kind: whoever asks for the case itself is told
            size = 0
        wanted.done(case, size)


def _end(wanted: _List, threads: list[threading.Thread]) -> None:
    wanted.close()
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join(_PATIENCE)
