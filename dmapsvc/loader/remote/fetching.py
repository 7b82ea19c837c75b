"""Fetching a case from its origin into the cache: whole arrays, once, resumed, verified, of one edition.

Which case is fetched, and when, is `mirror.py`'s affair and `prefetching.py`'s.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from dmapsvc.errors import Damaged, NotFound, Superseded
from dmapsvc.loader.remote.cachefolder import CacheFolder
from dmapsvc.loader.remote.download import Download
from dmapsvc.loader.remote.edition import Edition, LocalCopy
from dmapsvc.loader.remote.origin import Origin
from dmapsvc.loader.remote.patience import Patience
from dmapsvc.loader.remote.together import together
from dmapsvc.spec import check_name
from dmapsvc.store.layout import NODE

CONNECTIONS = 4  # a case is three large files and a small one
SWAP_SECONDS = (0.1, 0.4, 1.5)  # how long a case may be absent while it is replaced
REPLACEMENTS = 8  # more than one while a case is fetched is rare; so many are a mistake


class Fetcher:
    """Lays cases of the dataset at `origin` into `cache`; usable by several threads at once.

    `editions` are the cases seen so far, as they were when they were looked at last.
    """

    def __init__(self, origin: Origin, cache: CacheFolder, patience: Patience) -> None:
        self.editions: dict[str, Edition] = {}
        self._origin, self._cache, self._patience = origin, cache, patience
        self._whole: dict[str, LocalCopy] = {}  # saves looking for every file each time

    def see(self, case: str) -> Edition:
        """`case` as it was seen last, or as it is now; raises NotFound, Damaged."""
        if case not in self.editions:
            self.look(case)
        return self.editions[case]

    def look(self, case: str) -> bytes:
        """The `zarr.json` of `case` as it is now; raises NotFound, Damaged."""
        node = self._read_node(check_name(case, "case"))
        edition = Edition.read(case, node)
        if self.editions.get(case) != edition:
            self._whole.pop(case, None)
        self.editions[case] = edition
        return node

    def is_here(self, case: str) -> bool:
        """Whether the whole of `case` was here, and its folder still is: one look at the disk."""
        copy = self._whole.get(case)
        return copy is not None and copy.path.exists()

    def local(self, case: str, arrays: Collection[str] | None = None) -> Path | None:
        """The folder with `arrays` of `case` as it was seen last, or with all; None if it is not here."""
        copy = self._whole.get(case)
        if copy is None and case in self.editions:
            copy = self._cache.copy(self._origin.address, self.editions[case])
            if copy.missing(arrays):
                return None
            if arrays is None:
                self._whole[case] = copy
        if copy is not None:
            with suppress(FileNotFoundError):
                copy.touch()
                return copy.path
            self._whole.pop(case, None)  # another process took it away
        return None

    def folder(self, case: str, arrays: Collection[str] | None = None) -> Path:
        """A local folder with `arrays` of `case`, or with all; what is missing is fetched.

        As long as the edition that was seen last is here, nothing is asked of the origin. Raises NotFound,
        Damaged, Superseded, ServerUnreachable, and BadInput where the copy cannot be written.
        """
        try:
            return self.local(case, arrays) or self._fetch_alone(case, arrays).path
        except OSError as error:
            raise self._cache.unwritable(case, error) from error

    def _fetch_alone(self, case: str, arrays: Collection[str] | None) -> LocalCopy:
        with self._cache.lock(self._origin.address, check_name(case, "case")):
            copy = self._fetch(case, arrays)
        if arrays is None:
            self._whole[case] = copy
        self._cache.make_room(copy.path)
        return copy

    def _fetch(self, case: str, arrays: Collection[str] | None) -> LocalCopy:
        """Fetch what is missing of the case as it was seen last; of the case as it is now, if that turns out
        to be another edition.
        """
        self.see(case)
        for _ in range(REPLACEMENTS):
            copy = self._cache.copy(self._origin.address, self.editions[case])
            missing = copy.missing(arrays)
            if not missing:
                return copy
            damage = self._download(copy, missing)
            node = self.look(case)
            if self.editions[case].id == copy.edition.id:
                if damage is not None:
                    raise damage
                copy.keep(missing, node)
                self._cache.drop_other_editions(copy)
                return copy
            copy.drop(missing)
        raise Superseded(f"case {case!r} was replaced again and again while it was fetched")

    def _download(self, copy: LocalCopy, arrays: list[str]) -> Damaged | None:
        """Download `arrays`, those that come damaged twice; what is wrong then."""
        copy.begin()
        bad = arrays
        for _ in range(2):
            found = together(lambda array: self._download_array(copy, array), bad, CONNECTIONS)
            faults = dict(zip(bad, found, strict=True))
            bad = [array for array, fault in faults.items() if fault is not None]
            copy.drop(bad)
        return faults[bad[0]] if bad else None

    def _download_array(self, copy: LocalCopy, array: str) -> Damaged | None:
        key = f"{copy.edition.case}/{copy.edition.files[array]}"
        download = Download(self._origin, key, copy.part(array), copy.tag(array), self._patience)
        try:
            self._patience.insist(download.go_on, lambda: download.furthest)
            copy.verify(array)
        except Damaged as fault:
            return Damaged(f"{fault.found}, fetched twice from {self._origin.address}", remedy=fault.remedy)
        return None

    def _read_node(self, case: str) -> bytes:
        """The case's `zarr.json`; a case seen before is given the time that replacing it takes."""
        pauses = iter(SWAP_SECONDS if case in self.editions else ())
        while True:
            node = self._patience.insist(lambda: self._origin.read(f"{case}/{NODE}"))
            if node is not None:
                return node
            pause = next(pauses, None)
            if pause is None:
                raise NotFound(
                    f"case {case!r}",
                    f"there is none of that name in {self._origin.address}",
                    "`dmapsvc info` lists the cases",
                )
            time.sleep(pause)
