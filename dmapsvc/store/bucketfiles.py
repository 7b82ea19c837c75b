"""Files of a dataset that lies in a bucket, for reading: by zarr, and by whoever hands them on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import ObjectStore, WrapperStore

from dmapsvc.errors import StoreAway
from dmapsvc.store.absent import CLAIM_SIZE, is_claim
from dmapsvc.store.layout import NODE
from dmapsvc.store.objects import ChangedError, Entry, Objects

if TYPE_CHECKING:
    pass


class BucketFiles(WrapperStore[Store]):
    """The files of the dataset in the folder `below` of `objects`, read-only; a claim counts as no file."""

    def __init__(self, objects: Objects, below: str) -> None:
        super().__init__(ObjectStore(objects.reading(below), read_only=True))
        self._objects = objects

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """As zarr defines it."""
        with self._objects.reaching(key):
            found = await self._store.get(key, prototype, byte_range)
        claimed = found is not None and key.endswith(NODE) and is_claim(found.to_bytes())
        return None if claimed else found


class BucketFile:
    """An object, as it was when it was looked for; a `StoredFile`."""

    def __init__(self, objects: Objects, entry: Entry) -> None:
        self._objects, self._entry = objects, entry
        self.size, self.tag = entry.size, entry.tag

    def blocks(self, begin: int, end: int) -> Iterator[bytes]:
        """As `StoredFile` says, from one request, which is sent at once; raises StoreAway if the object was
        replaced meanwhile.
        """
        if begin == end:
            return iter(())
        try:
            return self._objects.part(self._entry, begin, end)
        except ChangedError:
            raise StoreAway("the file was replaced this moment", remedy="Ask again") from None

    def close(self) -> None:
        """Nothing is kept open."""


def open_object(objects: Objects, key: str) -> BucketFile | None:
    """The object `key`; None if there is none, or a claim in its place."""
    entry = objects.head(key)
    if entry is None or (key.endswith(f"/{NODE}") and entry.size == CLAIM_SIZE):
        return None
    return BucketFile(objects, entry)
