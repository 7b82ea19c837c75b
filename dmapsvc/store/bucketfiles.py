"""Files of a dataset that lies in a bucket, for reading: by zarr, and by whoever hands them on."""

from __future__ import annotations

from collections.abc import Iterator

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import ObjectStore, WrapperStore

from dmapsvc.errors import StoreAway
from dmapsvc.store.absent import CLAIM_SIZE, is_claim
from dmapsvc.store.layout import NODE
from dmapsvc.store.objects import ChangedError, Entry, Objects


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


def published_cases(objects: Objects, folder: str) -> Iterator[str]:
    """The names of the cases in the dataset in `folder`, as the listing of all its objects comes to them."""
    for entry in objects.entries(f"{folder}/"):
        case, _, rest = entry.key.removeprefix(f"{folder}/").partition("/")
        if rest == NODE and not holds_claim(entry):
            yield case


def holds_claim(entry: Entry) -> bool:
    """Whether a claim lies where the node `entry` was, as far as its size tells."""
    return entry.size == CLAIM_SIZE


def open_object(objects: Objects, key: str) -> BucketFile | None:
    """The object `key`; None if there is none, or a claim in its place."""
    entry = objects.head(key)
    if entry is None or (key.endswith(f"/{NODE}") and holds_claim(entry)):
        return None
    return BucketFile(objects, entry)
