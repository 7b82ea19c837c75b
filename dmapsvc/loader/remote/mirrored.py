"""The Zarr store behind a remote dataset: metadata as they are at the origin, arrays from local copies."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Iterable
from pathlib import Path
from typing import Protocol

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype

from dmapsvc.errors import NotFound
from dmapsvc.store.layout import NODE


class Remote(Protocol):
    """What this store needs of a mirror."""

    def look(self, case: str) -> bytes:
        """The `zarr.json` of a case as it is now; raises NotFound."""

    def read(self, key: str) -> bytes | None:
        """A small file as it is now."""

    def fetch(self, case: str, arrays: Collection[str]) -> Path:
        """A local folder with these arrays of a case."""


class MirroredFiles(Store):
    """The files of `remote`, read-only. The first byte of an array that is read fetches the whole array.

    A case that is replaced while it is read gives what is there now: `store.Case` compares, and tells.
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = False

    def __init__(self, remote: Remote) -> None:
        super().__init__(read_only=True)
        self._remote = remote

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MirroredFiles) and other._remote is self._remote

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """The file `key` or a range of it, None if there is none."""
        content = await asyncio.to_thread(self._read, key, byte_range)
        return None if content is None else prototype.buffer.from_bytes(content)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Each of the ranges asked for."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        """Whether there is a file `key`."""
        return await asyncio.to_thread(self._read, key, None) is not None

    async def set(self, key: str, value: Buffer) -> None:
        """Refused, as is all that changes or lists: only an origin's own side writes it."""
        raise _refused(key)

    async def delete(self, key: str) -> None:
        """Refused."""
        raise _refused(key)

    def list(self) -> AsyncIterator[str]:
        """Refused: which cases there are, the mirror says."""
        raise _refused("")

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Refused."""
        raise _refused(prefix)

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Refused."""
        raise _refused(prefix)

    def _read(self, key: str, byte_range: ByteRequest | None) -> bytes | None:
        case, _, rest = key.partition("/")
        if rest == NODE:
            with contextlib.suppress(NotFound):
                return _cut(self._remote.look(case), byte_range)
            return None
        if key.endswith(NODE):
            content = self._remote.read(key)
            return None if content is None else _cut(content, byte_range)
        return _read_file(self._remote.fetch(case, {rest.partition("/")[0]}) / rest, byte_range)


def _read_file(path: Path, wanted: ByteRequest | None) -> bytes | None:
    try:
        with path.open("rb") as file:
            length = file.seek(0, 2)
            begin, end, _ = _slice(wanted).indices(length)
            file.seek(begin)
            return file.read(max(0, end - begin))
    except FileNotFoundError:
        return None


def _cut(content: bytes, wanted: ByteRequest | None) -> bytes:
    return content[_slice(wanted)]


def _slice(wanted: ByteRequest | None) -> slice:
    match wanted:
        case RangeByteRequest(start, end):
            return slice(start, end)
        case OffsetByteRequest(offset):
            return slice(offset, None)
        case SuffixByteRequest(suffix):
            return slice(-suffix, None) if suffix else slice(0, 0)
        case _:
            return slice(None)


def _refused(key: str) -> NotImplementedError:
    return NotImplementedError(f"{key}: a remote dataset is only read, file by file")
