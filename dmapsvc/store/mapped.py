"""A published case in a local folder, for reading many small boxes fast: shards are mapped, and chunks
decoded straight to where their values belong.

What is not written as the store writes it is read by zarr, with the same result. Where boxes lie, and what
values are scaled by, is the loader's affair.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmapsvc.errors import Damaged, NotFound, Superseded
from dmapsvc.store import layout
from dmapsvc.store.chunked import ChunkedArray, prepare
from dmapsvc.store.classtable import ClassTable
from dmapsvc.store.foreign import ForeignArray, open_case, overlap
from dmapsvc.store.libraries import functions
from dmapsvc.store.linear import Numbers
from dmapsvc.store.positions import by_label, read_positions
from dmapsvc.store.reader import UNREADABLE, ArrayName, unreadable
from dmapsvc.store.record import CaseRecord
from dmapsvc.store.shard import REMEDY
from dmapsvc.store.sharding import known_sharding

Corner = Sequence[int]
"""The first voxel of a box, (z, y, x); it may lie outside of the volume."""

_ATTEMPTS = 10  # to open a case while it is replaced


class MappedCase:
    """The published case in the folder `folder`, as it was when it was opened; `name` names it in errors.

    Threads may share it; the GIL is released while they read. `verify`: whether a chunk's checksum is
    verified whenever it is read; without, damage gives wrong values, or Damaged where a chunk does not
    decode. An array in another layout than the store's own is read by zarr, much slower, and always verified.

    A box has its first voxel at `corner` and the sides of `out`. What of it lies outside of the volume is
    left alone in `out`.

    Raises NotFound if there is no such case, Superseded if it is replaced again and again, and Damaged if its
    metadata cannot be read or ask for a codec that is not installed, an array is of another type than its
    record says, or a shard is missing, cut off, or of a wrong index. As long as the case is there, each shard
    keeps a file descriptor (none since Python 3.13); it may be removed or replaced, but not cut off in place,
    which the store never does: the system ends a process that reads what is mapped and no longer there.
    """

    def __init__(self, folder: Path, name: str, *, verify: bool = True) -> None:
        self.name, self._folder, self._verify = name, folder, verify
        for _ in range(_ATTEMPTS):
            node = self._read_node()
            try:
                self._open(node)
            except Damaged:
                if self._read_node() == node:
                    raise
            else:
                if self._read_node() == node:
                    return
        raise Superseded(f"case {name!r} was replaced while it was opened", remedy="Open it again")

    def positions(self) -> dict[int, NDArray[np.unsignedinteger[Any]]]:
        """Voxels of each label but the background, by its value: (n, 3) rows (z, y, x); see `Case`."""
        return self._positions

    def read_image(
        self,
        corner: Corner,
        out: NDArray[np.float32],
        factor: Numbers,
        offset: Numbers,
    ) -> None:
        """Read a box of the image into `out`, (c, z, y, x): stored · factor[c] + offset[c].

        `factor` and `offset` are float32 or float64; calculated is in float32 where it holds every value of
        the stored type, else in float64.

        Raises NotFound if the case has no image, Damaged for a chunk that fails its checksum or does not
        decode, and, where zarr reads, Superseded if the case was replaced since.
        """
        image = self.record.image
        if image is None:
            raise NotFound(f"case {self.name!r} has no image", remedy="Upload one, or precompute with images")
        _check(out.ndim == 4 and len(out) == image.channels, f"out {out.shape}, {image.channels} channels")
        _check_factors(out, factor, offset)
        _check(factor.size == image.channels, f"{factor.size} factors, {image.channels} channels")
        self._arrays["image"].read_image(corner, out, factor, offset)

    def read_label(self, corner: Corner, out: NDArray[np.signedinteger[Any]], table: ClassTable) -> None:
        """Read the class index of each voxel of a box into `out`, (z, y, x), int16 or int32.

        Raises as `read_image`.
        """
        _check(out.ndim == 3 and out.dtype in (np.int16, np.int32), f"out {out.dtype} {out.shape}")
        self._arrays["label"].read_label(corner, out, table)

    def read_phi(
        self,
        corner: Corner,
        out: NDArray[np.float32],
        classes: NDArray[np.signedinteger[Any]],
        factor: Numbers,
        offset: Numbers,
    ) -> None:
        """Read a box of Φ into `out`, (z, y, x): stored · factor[k] + offset[k].

        `classes`: k of each voxel, in the shape of `out`, as `read_label` gives it for the same box. What is
        wanted of Φ is folded into `factor` and `offset`: its quantisation, a scale, D = M − Φ. Raises as
        `read_image`.
        """
        _check_factors(out, factor, offset)
        _check(out.ndim == 3 and classes.shape == out.shape, f"out {out.shape}, classes {classes.shape}")
        inside = classes[overlap(corner, out.shape, self.record.shape)]
        highest = int(inside.view(f"u{inside.itemsize}").max(initial=0))  # a negative one is higher than all
        _check(highest < factor.size, f"class {highest}, {factor.size} factors")
        self._arrays["phi"].read_phi(corner, out, classes, factor, offset)

    def _read_node(self) -> bytes:
        try:
            return (self._folder / layout.NODE).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(
                f"case {self.name!r}", "there is none of that name", "`dmapsvc info` lists the cases"
            ) from None

    def _open(self, node: bytes) -> None:
        try:
            case = json.loads(node)
            self.record = CaseRecord.from_json(case["attributes"][layout.KEY])
            nodes = case["consolidated_metadata"]["metadata"]
            arrays: tuple[ArrayName, ...] = ("label", "phi")
            if self.record.image is not None:
                arrays += ("image",)
            self._arrays = {array: self._open_array(array, nodes) for array in arrays}
            self._positions = self._open_positions(nodes)
        except UNREADABLE as error:
            raise unreadable(self.name) from error

    def _open_array(self, array: ArrayName, nodes: Any) -> ChunkedArray | ForeignArray:
        what, node = f"case {self.name!r}: {array}", nodes.get(f"{array}/0")
        if node is None:
            raise Damaged(f"{what}: its metadata are missing", remedy=REMEDY)
        if tuple(node["shape"]) != layout.array_shape(self.record, array):
            raise Damaged(f"{what}: its shape is not that of the case's record", remedy=REMEDY)
        found, wanted = node["data_type"], layout.recorded_type(self.record, array)
        if found != (wanted or found):
            raise Damaged(f"{what}: its type is {found}", f"the case's record says {wanted}", REMEDY)
        sharding, libraries = known_sharding(node), functions()
        signed = array == "label" and sharding is not None and sharding.dtype.kind != "u"
        if libraries is None or sharding is None or signed:
            return ForeignArray(open_case(self._folder, self.name), array)
        return ChunkedArray(self._folder / array / "0", sharding, libraries, what, verify=self._verify)

    def _open_positions(self, nodes: Any) -> dict[int, NDArray[np.unsignedinteger[Any]]]:
        if nodes.get(layout.POSITIONS) != layout.positions_node(self.record):
            return open_case(self._folder, self.name).positions()
        what = f"case {self.name!r}: {layout.POSITIONS}"
        return by_label(read_positions(self._folder, self.record, what), self.record)


def warm() -> None:
    """Compile the kernels for the usual types, or load them; else that happens when they are first called."""
    image, classes, numbers = (np.dtype(np.float32), 4), (np.dtype(np.int16), 4), (np.dtype(np.float32), 1)
    prepare("read_image", np.dtype(np.int16), image, numbers, numbers)
    prepare("read_label", np.dtype(np.uint8), classes, (np.dtype(np.int16), 1))
    prepare("read_phi", np.dtype(np.uint16), image, classes, numbers, numbers)


def _check_factors(out: NDArray[Any], factor: NDArray[Any], offset: NDArray[Any]) -> None:
    _check(out.dtype == np.float32, f"out {out.dtype}, float32 alone is written")
    types = {str(array.dtype) for array in (factor, offset)}
    _check(types <= {"float32", "float64"}, f"factors of {sorted(types)}, wanted float32 or float64")
    _check(factor.ndim == 1 and factor.shape == offset.shape, f"factors {factor.shape}, {offset.shape}")


def _check(holds: bool, found: str) -> None:
    """Compiled code believes what it is given."""
    if not holds:
        raise ValueError(found)
