"""One shard file: written chunk by chunk, and verified to the last byte.

The format is Zarr v3's `sharding_indexed` with `bytes, blosc, crc32c` inside and the index at the end.
Ordinary reading is zarr's affair. Writing is done here because a slab at a time needs no second copy of the
volume and can tell how far it is; verifying, because zarr skips what it is not asked for.
"""

from __future__ import annotations

import math
import mmap
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numcodecs import Blosc
from numpy.typing import DTypeLike, NDArray

from dmapsvc.errors import Damaged
from dmapsvc.store.checksum import CRC_BYTES, first_broken, seal, unseal
from dmapsvc.store.layout import PACKING, chunk_grid, inner_chunks

_UNTRACKED = {"trackfd": False} if sys.version_info >= (3, 13) else {}  # no descriptor a shard

REMEDY = "Publish the case again with replace"


def codec_of(array: str) -> Blosc:
    """What packs the chunks of `array`."""
    packing = PACKING[array]
    shuffle = Blosc.BITSHUFFLE if packing.shuffle == "bitshuffle" else Blosc.SHUFFLE
    return Blosc(cname=packing.compressor, clevel=packing.level, shuffle=shuffle)


def write_shard(path: Path, array: str, values: NDArray[Any], progress: Callable[[int], None]) -> None:
    """Write `values`, (z, y, x) or (c, z, y, x), as the one shard of `array`.

    `progress` is told the voxels of each slab done.
    """
    chunks, grid = inner_chunks(array, values.shape), chunk_grid(array, values.shape)
    codec = codec_of(array)
    index = np.empty((math.prod(grid), 2), dtype="<u8")
    path.parent.mkdir(parents=True)
    with path.open("xb") as file:
        number = offset = 0
        for first in range(grid[0]):
            slab = values[first * chunks[0] : (first + 1) * chunks[0]]
            for block in _blocks(slab, grid[1:], chunks):
                payload = seal(codec.encode(block))
                file.write(payload)
                index[number] = offset, len(payload)
                number, offset = number + 1, offset + len(payload)
            progress(slab.size)
        file.write(seal(index.tobytes()))


class Shard:
    """The shard of `array` of `shape` and `dtype` in the file `path`; `what` names it in errors.

    Raises Damaged if the file is not there, is not as long as its index says, or the index fails its
    checksum.
    """

    def __init__(self, path: Path, array: str, shape: tuple[int, ...], dtype: DTypeLike, what: str) -> None:
        self._what, self._dtype, self._shape = what, np.dtype(dtype), shape
        self._chunks, self._grid = inner_chunks(array, shape), chunk_grid(array, shape)
        self._data = map_shard(path, what)
        self._index = self._read_index()

    def verify(self) -> None:
        """Check the checksum of every chunk; raises Damaged naming the first that fails."""
        if (number := first_broken(self._data, self._index)) is not None:
            raise self._broken(number)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Every chunk in C order, checked, decoded, and cut to the array where it reaches beyond its edge."""
        for number, place in enumerate(np.ndindex(*self._grid)):
            rest = (n - i * c for n, i, c in zip(self._shape, place, self._chunks, strict=True))
            yield self.block(number)[tuple(slice(0, length) for length in rest)]

    def block(self, number: int) -> NDArray[Any]:
        """The chunk `number`, counted in C order, checked, decoded and whole."""
        try:
            raw = Blosc().decode(self._payload(number))
            return np.frombuffer(raw, self._dtype).reshape(self._chunks)
        except (RuntimeError, ValueError) as error:
            raise self._damaged(f"chunk {number} does not decode") from error

    def _payload(self, number: int) -> memoryview:
        offset, length = (int(entry) for entry in self._index[number])
        payload = unseal(self._data[offset : offset + length].data)
        if payload is None:
            raise self._broken(number)
        return payload

    def _read_index(self) -> NDArray[np.int64]:
        count = math.prod(self._grid)
        size = count * 16 + CRC_BYTES
        payload = unseal(self._data[-size:].data) if len(self._data) >= size else None
        if payload is None:
            raise self._damaged("the shard's index fails its checksum")
        index = np.frombuffer(payload, "<u8").reshape(count, 2)
        ends = np.cumsum(index[:, 1])
        fit = int(index.max()) <= len(self._data)  # else what is summed may run over
        if not fit or np.any(index[:, 0] != ends - index[:, 1]) or int(ends[-1]) != len(self._data) - size:
            raise self._damaged("the shard's chunks do not fill its file")
        return index.astype(np.int64)

    def _broken(self, number: int) -> Damaged:
        return self._damaged(f"chunk {number} fails its checksum")

    def _damaged(self, reason: str) -> Damaged:
        return Damaged(f"{self._what}: {reason}", remedy=REMEDY)


def map_shard(path: Path, what: str) -> NDArray[np.uint8]:
    """The bytes of the file `path`, mapped into memory; raises Damaged, naming `what`, if it is not there."""
    try:
        with path.open("rb") as file:
            length = os.fstat(file.fileno()).st_size
            content = (
                mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ, **_UNTRACKED) if length else b""
            )
    except (FileNotFoundError, NotADirectoryError):
        raise Damaged(f"{what}: its shard is missing", remedy=REMEDY) from None
    return np.frombuffer(content, np.uint8)


def _blocks(slab: NDArray[Any], grid: tuple[int, ...], chunks: tuple[int, ...]) -> Iterator[NDArray[Any]]:
    """The chunks of one slab in C order, filled up with zeros where they reach beyond the array."""
    for place in np.ndindex(*grid):
        part = slab[
            (slice(None), *(slice(i * c, (i + 1) * c) for i, c in zip(place, chunks[1:], strict=True)))
        ]
        if part.shape == chunks:
            yield np.ascontiguousarray(part)
        else:
            block = np.zeros(chunks, slab.dtype)
            block[tuple(slice(0, length) for length in part.shape)] = part
            yield block
