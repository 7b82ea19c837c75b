"""A volume in the memory of the card: where its arrays lie, how labels get there and results come back.

Bytes cross the bus by pinned memory, from CuPy's pool of it. What is computed between is in `cuda_backend`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import cupy
import numpy as np
from numpy.typing import DTypeLike, NDArray

from dmapsvc.maps.regions import RegionMap

_ALIGNMENT = 512  # bytes: what CuPy's pool hands out, and more than any access of a kernel needs
_SUMMARIES = 8192  # entries of the summary, over all slots: enough that atomics rarely meet, few to read back
_PIECE = 8 << 20  # bytes: while one piece is on the bus, the next is copied into pinned memory


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where a volume's arrays lie in its one block of the card's memory: offsets and `size`, in bytes.

    `regions`: labels, then region indices. `first`: 4 bytes a voxel, in turn the words of `edges`, squared
    distances, and Φ as it is stored. `second`: 4 bytes a voxel, in turn steps along x, and D or Φ. `table`:
    region by label, then maximum by region. `sums`, `maxima`: the summary, `slots` rows of an entry a region.
    """

    regions: int
    first: int
    second: int
    table: int
    sums: int
    maxima: int
    size: int
    slots: int

    @classmethod
    def of(cls, regions: RegionMap) -> Layout:
        """The layout for a label map: 9 bytes a voxel where labels have 8 bits, 10 where they have 16."""
        labels, count = regions.labels, len(regions.values)
        slots = max(1, _SUMMARIES // count)
        table = max(regions.table.size * labels.itemsize, 4 * count)
        sizes = (labels.nbytes, 4 * labels.size, 4 * labels.size, table, 8 * slots * count, 4 * slots * count)
        places = tuple(accumulate((-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes), initial=0))
        return cls(
            regions=places[0],
            first=places[1],
            second=places[2],
            table=places[3],
            sums=places[4],
            maxima=places[5],
            size=places[6],
            slots=slots,
        )


class CardVolume:
    """The block of the card's memory that a volume has; it goes back to CuPy's pool with this object.

    Everything happens on the current stream, in order; `fetch` waits for it. The pointers `regions`, `first`,
    `second`, `table`, `sums` and `maxima` are to the places of that name in `Layout`.
    """

    def __init__(self, regions: RegionMap) -> None:
        layout = Layout.of(regions)
        memory = cupy.cuda.alloc(layout.size)
        self.shape: tuple[int, int, int] = regions.labels.shape
        self.bits = 8 * regions.labels.itemsize
        self.region_count = len(regions.values)
        self.slots = layout.slots
        self.regions, self.first, self.second = (
            memory + offset for offset in (layout.regions, layout.first, layout.second)
        )
        self.table, self.sums, self.maxima = (
            memory + offset for offset in (layout.table, layout.sums, layout.maxima)
        )
        self._staged: list[NDArray[Any]] = []

    @property
    def voxels(self) -> int:
        """How many voxels the volume has."""
        depth, height, width = self.shape
        return depth * height * width

    def send(self, array: NDArray[Any], target: Any) -> None:
        """Copy an array, C order, to the pointer `target`."""
        source = array.reshape(-1).view(np.uint8)
        staged = pinned(source.size, np.uint8)
        self._staged.append(staged)  # until the stream is through with it
        for start in range(0, source.size, _PIECE):
            piece = staged[start : start + _PIECE]
            piece[:] = source[start : start + _PIECE]
            (target + start).copy_from_host_async(piece.ctypes.data, piece.size)

    def clear_summary(self) -> None:
        """Set the summary to 0."""
        entries = self.slots * self.region_count
        self.sums.memset_async(0, 8 * entries)
        self.maxima.memset_async(0, 4 * entries)

    def fetch(self, source: Any, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """The array at the pointer `source`, in pinned memory that lives as long as the array does."""
        array = pinned(int(np.prod(shape)), dtype).reshape(shape)
        source.copy_to_host_async(array.ctypes.data, array.nbytes)
        cupy.cuda.get_current_stream().synchronize()
        self._staged.clear()
        return array

    def fetch_summary(self) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Maxima and sums by region, over all slots."""
        shape = (self.slots, self.region_count)
        maxima = self.fetch(self.maxima, shape, np.float32)
        sums = self.fetch(self.sums, shape, np.float64)
        return maxima.max(axis=0), sums.sum(axis=0)


def pinned(size: int, dtype: DTypeLike) -> NDArray[Any]:
    """An array of `size` entries in pinned memory, which is used again once nothing refers to the array."""
    return np.frombuffer(cupy.cuda.alloc_pinned_memory(size * np.dtype(dtype).itemsize), dtype, size)
