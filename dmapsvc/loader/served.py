"""The Zarr store that a service serves, read-only: a file is one GET, of the connections that the client has.

Not fsspec's store: its sessions outlive a fork into a DataLoader's workers, and complain there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype

from dmapsvc.client import Client


class ServedFiles(Store):
    """The files of `dataset` at `client`'s server. It gives whole files only: `WholeFiles` cuts them.

    Raises ServerUnreachable where the server does not send one.
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = False

    def __init__(self, client: Client, dataset: str) -> None:
        super().__init__(read_only=True)
        self._client, self._dataset = client, dataset

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ServedFiles) and (other._client.server, other._dataset) == (
            self._client.server,
            self._dataset,
        )

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """The file `key`, None if there is none."""
        if byte_range is not None:
            raise NotImplementedError("only whole files are asked for")
        content = await asyncio.to_thread(self._client.store_file, self._dataset, key)
        return None if content is None else prototype.buffer.from_bytes(content)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Each of the files asked for."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        """Whether there is a file `key`."""
        return await asyncio.to_thread(self._client.store_file, self._dataset, key) is not None

    async def set(self, key: str, value: Buffer) -> None:
        """Refused, as is all that changes or lists: a service's store is written by its workers."""
        raise self._refused(key)

    async def delete(self, key: str) -> None:
        """Refused."""
        raise self._refused(key)

    def list(self) -> AsyncIterator[str]:
        """Refused: HTTP has no listing; the service's API says which cases there are."""
        raise self._refused("")

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Refused."""
        raise self._refused(prefix)

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Refused."""
        raise self._refused(prefix)

    def _refused(self, key: str) -> NotImplementedError:
        return NotImplementedError(f"{self._dataset}/{key}: a service's store is only read, file by file")
