"""An array of a published case, its shard mapped into memory and its chunks decoded by compiled code.

That goes for the layout that the store writes, whatever the edges of its chunks and blosc's compressor. What
is written in another way is for zarr to read.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from functools import cache
from importlib import reload
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
from numba.core.errors import NumbaError
from numpy.typing import NDArray

from dmapsvc.compiling import without_cache
from dmapsvc.errors import Damaged
from dmapsvc.store import decode
from dmapsvc.store.checksum import CRC_BYTES, unseal
from dmapsvc.store.classtable import ClassTable
from dmapsvc.store.decode import Chunks
from dmapsvc.store.layout import shard_key
from dmapsvc.store.libraries import Functions
from dmapsvc.store.linear import Numbers, in_precision
from dmapsvc.store.shard import REMEDY, map_shard
from dmapsvc.store.sharding import Sharding

Kernel = Literal["read_image", "read_label", "search_label", "read_phi"]

_SMALLEST_PAYLOAD = 16 + CRC_BYTES  # blosc's header and the checksum
_EMPTY = 2**64 - 1
_LOOKED_UP = 2  # bytes of the largest labels for which there is a table

_log = logging.getLogger(__name__)
_preparing = Lock()


class ChunkedArray:
    """The array in the folder `path` that lies in its shard as `sharding` says; `what` names it in errors.

    Threads may share it. It reads with `functions`; `verify`: whether a chunk's checksum is verified whenever
    it is read. Raises Damaged if the shard is missing, is not as long as its index says, or lacks a chunk, or
    if the index fails its checksum.
    """

    def __init__(
        self, path: Path, sharding: Sharding, functions: Functions, what: str, *, verify: bool
    ) -> None:
        self._what, self._dtype = what, sharding.dtype
        payloads = map_shard(path / shard_key(sharding.shape), what)
        self._chunks = Chunks(
            payloads=payloads,
            places=self._read_index(payloads, math.prod(sharding.grid)),
            shape=_axes(sharding.shape),
            sides=_axes(sharding.sides),
            grid=_axes(sharding.grid),
            decompress=functions.decompress,
            checksum=functions.checksum,
            verify=verify,
        )

    def read_image(
        self,
        corner: Sequence[int],
        out: NDArray[np.float32],
        factor: Numbers,
        offset: Numbers,
    ) -> None:
        """Write stored · factor[c] + offset[c] into `out`, (c, z, y, x), of the box at `corner`, (z, y, x).

        Like the others, raises Damaged for a chunk that fails its checksum or does not decode; `out` is then
        written in part.
        """
        self._run("read_image", corner, out, *in_precision(self._dtype, factor, offset))

    def read_label(self, corner: Sequence[int], out: NDArray[Any], table: ClassTable) -> None:
        """Write the class index of each voxel into `out`, (z, y, x)."""
        if self._dtype.itemsize <= _LOOKED_UP:
            self._run("read_label", corner, out[np.newaxis], table.lookup)
        else:
            self._run("search_label", corner, out[np.newaxis], table.values, table.order)

    def read_phi(
        self,
        corner: Sequence[int],
        out: NDArray[np.float32],
        classes: NDArray[np.signedinteger[Any]],
        factor: Numbers,
        offset: Numbers,
    ) -> None:
        """Write stored · factor[k] + offset[k] into `out`, (z, y, x), k of `classes`."""
        numbers = in_precision(self._dtype, factor, offset)
        self._run("read_phi", corner, out[np.newaxis], classes[np.newaxis], *numbers)

    def _run(
        self, kernel: Kernel, corner: Sequence[int], out: NDArray[Any], *arguments: NDArray[Any]
    ) -> None:
        prepare(kernel, self._dtype, *((array.dtype, array.ndim) for array in (out, *arguments)))
        box, *others = (np.require(array, requirements=("C", "A", "W")) for array in (out, *arguments))
        scratch = np.empty(self._chunks.sides, self._dtype)
        z, y, x = (int(edge) for edge in corner)
        fault, number = getattr(decode, kernel)(self._chunks, scratch, (0, z, y, x), box, *others)
        if fault != decode.NO_FAULT:
            how = "fails its checksum" if fault == decode.BAD_CHECKSUM else "does not decode"
            raise self._damaged(f"chunk {number} {how}")
        if box is not out:
            out[...] = box

    def _read_index(self, payloads: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
        size = count * 16 + CRC_BYTES
        tail = unseal(payloads[-size:].data) if len(payloads) >= size else None
        if tail is None:
            raise self._damaged("the shard's index fails its checksum")
        index = np.frombuffer(tail, "<u8").reshape(-1, 2)
        for number in np.flatnonzero((index == _EMPTY).any(axis=1)):
            raise self._damaged(f"chunk {number} is not there")
        if not _fills(index, len(payloads) - size):
            raise self._damaged("the shard's chunks do not fill its file")
        return index.astype(np.int64)

    def _damaged(self, reason: str) -> Damaged:
        return Damaged(f"{self._what}: {reason}", remedy=REMEDY)


def _fills(index: NDArray[np.uint64], size: int) -> bool:
    """Whether the chunks of `index`, in any order, are all that lies in the first `size` bytes."""
    if int(index.max()) > size or int(index[:, 1].min()) < _SMALLEST_PAYLOAD:
        return False
    starts, lengths = index[np.argsort(index[:, 0])].T
    ends = np.cumsum(lengths)
    return bool(starts[0] == 0 and ends[-1] == size and np.array_equal(starts[1:], ends[:-1]))


def _axes(lengths: tuple[int, ...]) -> decode.Axes:
    c, z, y, x = (1,) * (4 - len(lengths)) + lengths
    return c, z, y, x


@cache
def prepare(kernel: Kernel, stored: np.dtype[Any], *arrays: tuple[np.dtype[Any], int]) -> None:
    """Compile a kernel for what is `stored` and the types and axes of `arrays`, or load it; in memory if the
    disk is no good.
    """
    with _preparing:  # a thread that finds the disk no good reloads what others would prepare
        try:
            _run_on_nothing(kernel, stored, *arrays)
        except NumbaError:  # the kernel does not compile, whatever lies on the disk
            raise
        except Exception as error:  # whatever a file of numba's cache that is damaged raises
            _log.warning("the compiled kernels on disk are not used: %s: %s", type(error).__name__, error)
            with without_cache():
                reload(decode)
            _run_on_nothing(kernel, stored, *arrays)


def _run_on_nothing(kernel: Kernel, stored: np.dtype[Any], *arrays: tuple[np.dtype[Any], int]) -> None:
    nothing, one = (0, 0, 0, 0), (1, 1, 1, 1)
    payloads, index = np.frombuffer(b"0", np.uint8), np.zeros((1, 2), np.int64)
    chunks = Chunks(payloads, index, nothing, one, one, 0, 0, verify=True)
    arguments = [np.zeros((1,) * axes, dtype) for dtype, axes in arrays]
    getattr(decode, kernel)(chunks, np.empty(one, stored), nothing, *arguments)
