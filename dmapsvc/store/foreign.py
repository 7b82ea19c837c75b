"""An array of a published case that is not written as the store writes it, read by zarr.

Slower than `chunked`, by the same calls and with the same results.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore, WrapperStore

from dmapsvc.store.classtable import ClassTable
from dmapsvc.store.linear import Numbers, in_precision
from dmapsvc.store.reader import ArrayName, Case, StrictStore


class ForeignArray:
    """`array` of `case`. Its methods are those of `chunked.ChunkedArray`, and raise as `Case.read`."""

    def __init__(self, case: Case, array: ArrayName) -> None:
        self._case, self._array = case, array

    def read_image(
        self,
        corner: Sequence[int],
        out: NDArray[np.float32],
        factor: Numbers,
        offset: Numbers,
    ) -> None:
        """Write stored · factor[c] + offset[c] into `out`, (c, z, y, x)."""
        box, selection = self._overlap(corner, out.shape[1:])
        stored = self._read((..., *selection)).reshape(len(out), *out[:, *box].shape[1:])
        numbers = in_precision(stored.dtype, factor, offset)
        scale, shift = (array.reshape(-1, 1, 1, 1) for array in numbers)
        out[:, *box] = stored.astype(scale.dtype) * scale + shift

    def read_label(self, corner: Sequence[int], out: NDArray[Any], table: ClassTable) -> None:
        """Write the class index of each voxel into `out`, (z, y, x)."""
        box, selection = self._overlap(corner, out.shape)
        out[box] = table.indices(self._read(selection))

    def read_phi(
        self,
        corner: Sequence[int],
        out: NDArray[np.float32],
        classes: NDArray[np.signedinteger[Any]],
        factor: Numbers,
        offset: Numbers,
    ) -> None:
        """Write stored · factor[k] + offset[k] into `out`, (z, y, x), k of `classes`."""
        box, selection = self._overlap(corner, out.shape)
        places = classes[box]
        stored = self._read(selection)
        scale, shift = in_precision(stored.dtype, factor, offset)
        out[box] = stored.astype(scale.dtype) * scale[places] + shift[places]

    def _read(self, selection: Any) -> NDArray[Any]:
        return self._case.read(self._array, selection)

    def _overlap(
        self, corner: Sequence[int], sides: Sequence[int]
    ) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """What of a box lies in the volume: from the box's corner, and from the volume's."""
        box = overlap(corner, sides, self._case.record.shape)
        volume = (
            slice(edge + part.start, edge + max(part.start, part.stop))
            for edge, part in zip(corner, box, strict=True)
        )
        return box, tuple(volume)


def overlap(corner: Sequence[int], sides: Sequence[int], shape: Sequence[int]) -> tuple[slice, ...]:
    """What of the box of `sides` at `corner` lies in a volume of `shape`, from the box's corner."""
    return tuple(
        slice(max(0, -edge), max(0, min(side, length - edge)))
        for edge, side, length in zip(corner, sides, shape, strict=True)
    )


def open_case(folder: Path, name: str) -> Case:
    """The published case in `folder`, which may be called otherwise, for zarr; raises as `Case`."""
    return Case(StrictStore(_CaseStore(folder, name)), name)


class _CaseStore(WrapperStore[LocalStore]):
    """The folder of one case as the store of a dataset that has this case alone, as `name`."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(LocalStore(folder, read_only=True))
        self._name = name

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """As zarr defines it."""
        return await self._store.get(key.removeprefix(f"{self._name}/"), prototype, byte_range)
