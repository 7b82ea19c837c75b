"""The compiled way from a mapped shard to a box of values: checksum, decompress, convert, chunk by chunk.

Each kernel runs without the GIL and returns a fault and the chunk that has it; errors are raised, and
arguments checked, by those who call. Arrays have four axes here, (c, z, y, x), the first of length 1 where
there are no channels, and lie in C order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dmapsvc.compiling import compiled, inlined
from dmapsvc.store.checksum import CRC_BYTES
from dmapsvc.store.native import checksum, decompress

NO_FAULT, BAD_CHECKSUM, UNDECODABLE = range(3)

Axes = tuple[int, int, int, int]


class Chunks(NamedTuple):
    """The chunks of an array: where they lie, and how they are read.

    `payloads`: uint8, the shard. `places`: int64 (chunks, 2), offset and length of each chunk in C order of
    `grid`; all lie within `payloads`, with room for a blosc header and a checksum. `shape`, `sides` and
    `grid` are the array's, a chunk's, and how many there are. Then the addresses of `libraries.Functions`,
    and whether checksums are verified.
    """

    payloads: NDArray[np.uint8]
    places: NDArray[np.int64]
    shape: Axes
    sides: Axes
    grid: Axes
    decompress: int
    checksum: int
    verify: bool


class _Parts(NamedTuple):
    """What of a box lies in which chunk: a row a chunk, and (c, z, y, x).

    `number` of the chunk, where the part begins `in_chunk` and `in_box`, and its `length`s.
    """

    number: NDArray[np.int64]
    in_chunk: NDArray[np.int64]
    in_box: NDArray[np.int64]
    length: NDArray[np.int64]


@compiled
def read_image(chunks, scratch, corner, out, factor, offset):  # type: ignore[no-untyped-def]
    """Write stored · factor + offset, by channel, of the box at `corner` that is as large as `out`.

    `scratch`: one chunk of the stored type. `out`: float32, left alone where the box is outside the array.
    `factor`, `offset`: one a channel, of the type that is calculated in (`linear.precision`).
    """
    number = factor.dtype.type
    parts = _parts(chunks, corner, out.shape)
    voxels, box = scratch.reshape(-1), out.reshape(-1)
    for i in range(len(parts.number)):
        fault = _unpack(chunks, parts.number[i], scratch)
        if fault != NO_FAULT:
            return fault, parts.number[i]
        channels, depth, height, width = parts.length[i]
        source, target = _start(chunks.sides, parts.in_chunk[i]), _start(out.shape, parts.in_box[i])
        for c in range(channels):
            scale, shift = factor[parts.in_box[i, 0] + c], offset[parts.in_box[i, 0] + c]
            for z in range(depth):
                for y in range(height):
                    stored = _row(voxels, source, chunks.sides, c, z, y, width)
                    values = _row(box, target, out.shape, c, z, y, width)
                    for x in range(width):
                        values[x] = number(stored[x]) * scale + shift
    return NO_FAULT, 0


@compiled
def read_label(chunks, scratch, corner, out, table):  # type: ignore[no-untyped-def]
    """Write table[stored] of the box at `corner` that is as large as `out`; see `read_image`.

    `table` has an entry for each number of the stored type.
    """
    parts = _parts(chunks, corner, out.shape)
    voxels, box = scratch.reshape(-1), out.reshape(-1)
    for i in range(len(parts.number)):
        fault = _unpack(chunks, parts.number[i], scratch)
        if fault != NO_FAULT:
            return fault, parts.number[i]
        _, depth, height, width = parts.length[i]
        source, target = _start(chunks.sides, parts.in_chunk[i]), _start(out.shape, parts.in_box[i])
        for z in range(depth):
            for y in range(height):
                stored = _row(voxels, source, chunks.sides, 0, z, y, width)
                values = _row(box, target, out.shape, 0, z, y, width)
                index = table[stored[0]]
                for x in range(width):
                    values[x] = index
                if not _is_uniform(stored):  # written twice: in an if and its else, LLVM finds no vectors
                    for x in range(width):
                        values[x] = table[stored[x]]
    return NO_FAULT, 0


@compiled
def search_label(chunks, scratch, corner, out, wanted, order):  # type: ignore[no-untyped-def]
    """Write order[i] where stored is wanted[i], and 0 where it is none of them; see `read_image`.

    `wanted`: int64, ascending, not empty; for types whose numbers are too many for the table of `read_label`.
    """
    parts = _parts(chunks, corner, out.shape)
    voxels, box = scratch.reshape(-1), out.reshape(-1)
    for i in range(len(parts.number)):
        fault = _unpack(chunks, parts.number[i], scratch)
        if fault != NO_FAULT:
            return fault, parts.number[i]
        _, depth, height, width = parts.length[i]
        source, target = _start(chunks.sides, parts.in_chunk[i]), _start(out.shape, parts.in_box[i])
        for z in range(depth):
            for y in range(height):
                stored = _row(voxels, source, chunks.sides, 0, z, y, width)
                values = _row(box, target, out.shape, 0, z, y, width)
                index = _search(wanted, order, stored[0])
                for x in range(width):
                    values[x] = index
                if not _is_uniform(stored):
                    for x in range(1, width):
                        if stored[x] != stored[x - 1]:
                            index = _search(wanted, order, stored[x])
                        values[x] = index
    return NO_FAULT, 0


@compiled
def read_phi(chunks, scratch, corner, out, classes, factor, offset):  # type: ignore[no-untyped-def]
    """Write stored · factor + offset, by the class of each voxel, of the box at `corner`; see `read_image`.

    `classes`: of the shape of `out`, places in `factor` and `offset`.
    """
    number = factor.dtype.type
    parts = _parts(chunks, corner, out.shape)
    voxels, box, indices = scratch.reshape(-1), out.reshape(-1), classes.reshape(-1)
    for i in range(len(parts.number)):
        fault = _unpack(chunks, parts.number[i], scratch)
        if fault != NO_FAULT:
            return fault, parts.number[i]
        _, depth, height, width = parts.length[i]
        source, target = _start(chunks.sides, parts.in_chunk[i]), _start(out.shape, parts.in_box[i])
        for z in range(depth):
            for y in range(height):
                stored = _row(voxels, source, chunks.sides, 0, z, y, width)
                index = _row(indices, target, out.shape, 0, z, y, width)
                values = _row(box, target, out.shape, 0, z, y, width)
                scale, shift = factor[index[0]], offset[index[0]]
                for x in range(width):
                    values[x] = number(stored[x]) * scale + shift
                if not _is_uniform(index):
                    for x in range(width):
                        values[x] = number(stored[x]) * factor[index[x]] + offset[index[x]]
    return NO_FAULT, 0


@inlined
def _search(wanted, order, value):  # type: ignore[no-untyped-def]
    """order[i] of the i at which `wanted`, ascending, is `value`; 0 where it is nowhere."""
    low, high = 0, wanted.size - 1
    while low < high:
        middle = (low + high) // 2
        if wanted[middle] < np.int64(value):
            low = middle + 1
        else:
            high = middle
    return order[low] if wanted[low] == np.int64(value) else 0


@inlined
def _parts(chunks, corner, sides):  # type: ignore[no-untyped-def]
    """What of the box at `corner` with `sides` lies in which chunk; none where they do not meet."""
    first, count, total = np.empty(4, np.int64), np.empty(4, np.int64), 1
    for axis in range(4):
        low = max(corner[axis], 0)
        high = min(corner[axis] + sides[axis], chunks.shape[axis])
        first[axis] = low // chunks.sides[axis]
        count[axis] = (high - 1) // chunks.sides[axis] - first[axis] + 1 if high > low else 0
        total *= count[axis]
    number, in_chunk = np.zeros(total, np.int64), np.empty((total, 4), np.int64)
    in_box, length = np.empty((total, 4), np.int64), np.empty((total, 4), np.int64)
    for i in range(total):
        rest, stride = i, 1
        for axis in range(3, -1, -1):
            place = first[axis] + rest % count[axis]
            rest //= count[axis]
            number[i] += place * stride
            stride *= chunks.grid[axis]
            begin = place * chunks.sides[axis]
            low = max(corner[axis], 0, begin)
            high = min(corner[axis] + sides[axis], chunks.shape[axis], begin + chunks.sides[axis])
            in_chunk[i, axis] = low - begin
            in_box[i, axis] = low - corner[axis]
            length[i, axis] = high - low
    return _Parts(number, in_chunk, in_box, length)


@inlined
def _unpack(chunks, number, scratch):  # type: ignore[no-untyped-def]
    """Decompress a chunk into `scratch`; its header must be true, because C-Blosc believes it."""
    start, size = chunks.places[number]
    size -= CRC_BYTES
    payload = chunks.payloads[start : start + size]
    address = payload.ctypes.data
    if chunks.verify:
        expected = _word(chunks.payloads, start + size)
        if checksum(chunks.checksum, address, size) != expected:
            return BAD_CHECKSUM
    if _word(payload, 4) != scratch.nbytes or _word(payload, 12) != size:
        return UNDECODABLE
    written = decompress(chunks.decompress, address, scratch.ctypes.data, scratch.nbytes)
    return NO_FAULT if written == scratch.nbytes else UNDECODABLE


@inlined
def _word(data, place):  # type: ignore[no-untyped-def]
    """The 32 bits at `place`, little endian."""
    word = np.int64(0)
    for i in range(4):
        word |= np.int64(data[place + i]) << (8 * i)
    return word


@inlined
def _start(shape, voxel):  # type: ignore[no-untyped-def]
    """Where a voxel of an array of `shape` lies in it when it is flat."""
    return ((voxel[0] * shape[1] + voxel[1]) * shape[2] + voxel[2]) * shape[3] + voxel[3]


@inlined
def _row(flat, start, shape, c, z, y, width):  # type: ignore[no-untyped-def]
    """`width` voxels along x, (c, z, y) on from `start`; a slice of all four axes would be slow."""
    first = start + ((c * shape[1] + z) * shape[2] + y) * shape[3]
    return flat[first : first + width]


@inlined
def _is_uniform(row):  # type: ignore[no-untyped-def]
    difference = row[0] ^ row[0]
    for x in range(row.size):
        difference |= row[x] ^ row[0]
    return difference == 0
