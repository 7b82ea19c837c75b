"""A remote dataset that is read as if it were local: each case is fetched once, into the machine's cache.

    mirror = Mirror("http://127.0.0.1:8000/v1/datasets/knees")
    mirror.prefetch(mirror.cases())
    mirror.folder("case01")     # a folder with all files of the case

How a case is fetched is in `fetching.py`, how a server that is away is waited for in `patience.py`, and what
the cache keeps in `cachefolder.py`.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from dmapsvc.loader.remote.cachefolder import CacheFolder
from dmapsvc.loader.remote.edition import Edition
from dmapsvc.loader.remote.fetching import Fetcher
from dmapsvc.loader.remote.mirrored import MirroredFiles
from dmapsvc.loader.remote.origin import open_origin
from dmapsvc.loader.remote.patience import PATIENCE, Patience
from dmapsvc.loader.remote.prefetching import Prefetcher
from dmapsvc.spec import MapSpec
from dmapsvc.store import CaseRecord, Reader


class Mirror:
    """The dataset at `url`, 'http://host:port/v1/datasets/knees' or 's3://bucket/prefix/knees.zarr', with the
    cases that are published when it is opened; a `CaseSource`.

    Opening asks the origin once and fails at once; from then on it is waited for `patience` seconds if it
    goes away. `cache`: where the copies are kept; as the settings say, if left out. A case that is replaced
    at the origin stays as it is here until somebody on the machine fetches the new one; they never mix.

    Raises ServerProblem or NotFound if there is no such dataset, ServerUnreachable, Damaged, BadInput for
    another URL.
    """

    def __init__(self, url: str, *, patience: float = PATIENCE, cache: CacheFolder | None = None) -> None:
        self._url, self._patience = url, patience
        self._cache = CacheFolder.configured() if cache is None else cache
        self._work = _Work(url, patience, self._cache, {})
        self._cases = self._work.origin.cases()
        self.name = self._work.origin.name
        reader = self.reader()
        self.spec: MapSpec = reader.spec
        self.names: Mapping[int, str] = reader.names

    def cases(self) -> list[str]:
        """The names of the cases that were published when this was opened, sorted."""
        return list(self._cases)

    def record(self, case: str) -> CaseRecord:
        """The record of `case` as it was seen last; raises NotFound, Damaged, ServerUnreachable."""
        return self._live().fetcher.see(case).record

    def folder(self, case: str) -> Path:
        """A local folder with all files of `case`, fetched first if need be.

        Another process may need the room and take the folder away later: what is open or mapped by then stays
        readable. Raises NotFound, Damaged, Superseded, ServerUnreachable, and BadInput where the cache cannot
        be written.
        """
        return self.fetch(case)

    def fetch(self, case: str, arrays: Collection[str] | None = None) -> Path:
        """As `folder`, but only `arrays` of the case need to be there."""
        live = self._live()
        folder = live.fetcher.local(case, arrays)
        if folder is None:
            with live.prefetcher.turn(case):
                folder = live.fetcher.folder(case, arrays)
        live.prefetcher.note_use(case)
        return folder

    def prefetch(self, cases: Sequence[str]) -> None:
        """A hint: `cases` will be asked for soon, in this order, after those of earlier hints that were not
        asked for yet. Returns at once.
        """
        self._live().prefetcher.want(cases)

    def look(self, case: str) -> bytes:
        """The `zarr.json` of `case` as it is at the origin now; raises as `record` does."""
        return self._live().fetcher.look(case)

    def read(self, key: str) -> bytes | None:
        """The small file `key` of the store as it is at the origin now; None if there is none."""
        live = self._live()
        return live.patience.insist(lambda: live.origin.read(key))

    def reader(self) -> Reader:
        """The dataset for reading by zarr, array by array; only those that are read are fetched."""
        return Reader(MirroredFiles(self), self._cases, name=self.name)

    def close(self) -> None:
        """End the fetching ahead; what waits for the origin raises `Stopped`."""
        self._work.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_work": dict(self._work.fetcher.editions)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._work = _Work(self._url, self._patience, self._cache, state["_work"])

    def _live(self) -> _Work:
        """What works in this process: after a fork neither threads nor connections are worth anything."""
        if self._work.process != os.getpid():
            self._work = _Work(self._url, self._patience, self._cache, self._work.fetcher.editions)
        return self._work


class _Work:
    """The connections and threads of one process."""

    def __init__(self, url: str, patience: float, cache: CacheFolder, editions: dict[str, Edition]) -> None:
        self.process = os.getpid()
        self.origin = open_origin(url)
        self.patience = Patience(self.origin.address, patience)
        self.fetcher = Fetcher(self.origin, cache, self.patience)
        self.fetcher.editions.update(editions)
        self.prefetcher = Prefetcher(self.fetcher.folder, self.fetcher.is_here, cache.limit)
        self.close = weakref.finalize(self, _end, self.process, self.patience, self.prefetcher)


def _end(process: int, patience: Patience, prefetcher: Prefetcher) -> None:
    if process == os.getpid():
        patience.stop()
        prefetcher.close()
