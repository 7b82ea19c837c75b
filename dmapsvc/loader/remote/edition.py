"""A case as it was published at one moment, and the local copy of it, which may still lack arrays.

A copy is a case's folder as the store lays it out. Each array is one file, which gets its name only once it
is whole and its checksums are right; until then it lies in the copy's hidden folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dmapsvc.errors import Damaged
from dmapsvc.store import CaseRecord, layout
from dmapsvc.store.checksum import unseal
from dmapsvc.store.reader import UNREADABLE, unreadable
from dmapsvc.store.shard import REMEDY, Shard

PARTS = ".part"  # the copy's hidden folder
ID_DIGITS = 16  # of a sha256: no two editions of a case share them by chance


@dataclass(frozen=True, kw_only=True)
class Edition:
    """What `case` was at one moment: `id` stands for its `zarr.json`, which `record` was in."""

    case: str
    id: str
    record: CaseRecord

    @classmethod
    def read(cls, case: str, node: bytes) -> Edition:
        """The edition of which `node` is the `zarr.json`; raises Damaged if that cannot be read."""
        try:
            record = CaseRecord.from_json(json.loads(node)["attributes"][layout.KEY])
        except UNREADABLE as error:
            raise unreadable(case) from error
        return cls(case=case, id=hashlib.sha256(node).hexdigest()[:ID_DIGITS], record=record)

    @property
    def files(self) -> dict[str, str]:
        """The one file of each array, from the case's folder."""
        keys = (key for key in layout.case_files(self.record) if not key.endswith(layout.NODE))
        return {key.partition("/")[0]: key for key in keys}


class LocalCopy:
    """The copy of `edition` in the folder `path`, which need not be there.

    Who changes it holds the case's lock (`CacheFolder.lock`); who reads it need not.
    """

    def __init__(self, path: Path, edition: Edition) -> None:
        self.path, self.edition = path, edition
        self._files = edition.files

    def missing(self, arrays: Collection[str] | None = None) -> list[str]:
        """Which of `arrays`, or of all, are not here."""
        wanted = [array for array in self._files if arrays is None or array in arrays]
        if not (self.path / layout.NODE).is_file():
            return wanted
        return [array for array in wanted if not (self.path / self._files[array]).is_file()]

    def touch(self) -> None:
        """Note that it is used now, as the time at which its `zarr.json` was read last."""
        node = self.path / layout.NODE
        os.utime(node, ns=(time.time_ns(), node.stat().st_mtime_ns))

    def begin(self) -> None:
        """Make the folder that parts of files go to."""
        (self.path / PARTS).mkdir(parents=True, exist_ok=True)

    def part(self, array: str) -> Path:
        """Where the file of `array` lies until it is whole."""
        return self.path / PARTS / array

    def tag(self, array: str) -> Path:
        """Where the tag lies which that file has at its origin."""
        return self.path / PARTS / f"{array}.tag"

    def verify(self, array: str) -> None:
        """Check every checksum of the file of `array`, and flush it to disk; raises Damaged."""
        record, what = self.edition.record, f"case {self.edition.case!r}: {array}"
        if array != layout.POSITIONS:
            Shard(self.part(array), array, layout.array_shape(record, array), np.uint8, what).verify()
        elif unseal(memoryview(self.part(array).read_bytes())) is None:
            raise Damaged(f"{what}: its chunk fails its checksum", remedy=REMEDY)
        _flush(self.part(array))

    def keep(self, arrays: Collection[str], node: bytes) -> None:
        """Give the files of `arrays`, which are whole, their names; `node` is the case's `zarr.json`.

        Raises Damaged if `node` does not hold the metadata of all arrays.
        """
        self._write_metadata(node)
        for array in arrays:
            home = self.path / self._files[array]
            home.parent.mkdir(parents=True, exist_ok=True)
            self.part(array).replace(home)
            self.tag(array).unlink(missing_ok=True)
        shutil.rmtree(self.path / PARTS)

    def drop(self, arrays: Collection[str]) -> None:
        """Forget what has come of the files of `arrays`."""
        for array in arrays:
            self.part(array).unlink(missing_ok=True)
            self.tag(array).unlink(missing_ok=True)

    def _write_metadata(self, node: bytes) -> None:
        """Write every `zarr.json`, all out of the case's own, which holds copies of the others."""
        try:
            copies = json.loads(node)["consolidated_metadata"]["metadata"]
            for key in layout.case_files(self.edition.record):
                if key.endswith(f"/{layout.NODE}"):
                    group = dict(copies[key.removesuffix(f"/{layout.NODE}")])
                    group.pop("consolidated_metadata", None)
                    self._write(key, json.dumps(group, indent=1).encode())
        except UNREADABLE as error:
            raise unreadable(self.edition.case) from error
        self._write(layout.NODE, node)
        _flush(self.path / layout.NODE)

    def _write(self, key: str, content: bytes) -> None:
        """Write a small file, if it is not there, so that it is never there in part."""
        path, fresh = self.path / key, self.path / PARTS / "fresh"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_bytes(content)
            fresh.replace(path)


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
