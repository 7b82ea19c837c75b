"""A Zarr store that fetches every shard of another one once, whole, and keeps it in memory.

Reading a patch at a time over HTTP is slow (a request a chunk); a shard is one file, so after its first patch
a case is read from memory. What is kept is compressed, about 40 MB for a knee with its image.
"""

from __future__ import annotations

import asyncio
import copy
from collections import OrderedDict
from collections.abc import Iterable

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

CACHE_BYTES = 1 << 30  # a process; about 25 knees


class WholeFiles(WrapperStore[Store]):
    """`store` with its shards kept in memory, up to `limit` bytes, the least recently used dropped first.

    Metadata are asked for each time, and when those of a case are not what they were, its shards are
    dropped: what was published before never mixes with what came after.
    """

    def __init__(self, store: Store, limit: int = CACHE_BYTES) -> None:
        super().__init__(store)
        self._limit = limit
        self._shards: OrderedDict[str, Buffer] = OrderedDict()
        self._metadata: dict[str, bytes] = {}
        self._lock = asyncio.Lock()

    def _with_store(self, store: Store) -> WholeFiles:
        other = copy.copy(self)  # with the same memory: zarr asks for a twin whenever it opens something
        other._store = store
        return other

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """As zarr defines it."""
        if not key.rpartition("/")[2].isdigit():  # only a shard's name ends in a number
            return await self._fetch_metadata(key, prototype)
        async with self._lock:
            shard = self._shards.get(key) or await self._store.get(key, prototype)
            if shard is None:
                return None
            self._keep(key, shard)
        return shard if byte_range is None else shard[_slice(byte_range, len(shard))]

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """As zarr defines it."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    def _keep(self, key: str, shard: Buffer) -> None:
        self._shards[key] = shard
        self._shards.move_to_end(key)
        while len(self._shards) > 1 and sum(map(len, self._shards.values())) > self._limit:
            self._shards.popitem(last=False)

    async def _fetch_metadata(self, key: str, prototype: BufferPrototype) -> Buffer | None:
        found = await self._store.get(key, prototype)
        content = b"" if found is None else found.to_bytes()
        if self._metadata.setdefault(key, content) != content:
            self._metadata[key] = content
            below = key.rpartition("/")[0] + "/"
            for shard in [shard for shard in self._shards if shard.startswith(below)]:
                del self._shards[shard]
        return found


def _slice(wanted: ByteRequest, length: int) -> slice:
    match wanted:
        case RangeByteRequest(start, end):
            return slice(start, end)
        case OffsetByteRequest(offset):
            return slice(offset, length)
        case SuffixByteRequest(suffix):
            return slice(max(0, length - suffix), length)
