"""The compiled passes of the numba backend over a volume; how threads share them is not decided here.

Squared distances grow an axis at a time, for all regions at once: along x and y plane by plane, then along z.
What happens to the lines of y and z is in `tiles`.
"""

from __future__ import annotations

import numpy as np

from dmapsvc.compiling import compiled, inlined
from dmapsvc.maps.envelope import UNREACHED
from dmapsvc.maps.tiles import fetch, fetch_regions, put, transform
from dmapsvc.maps.vectors import LINES, every, load, root, spread, store, widened


@compiled
def transform_planes(labels, table, squares, weight, out, tile, first, stop):  # type: ignore[no-untyped-def]
    """Squared distances within the planes z = first … stop − 1: along x, then along y.

    `squares`: float32, the squared distance along x by steps. `weight`: float32, that of one step along y.
    `out`: float32 (z, y, x). `tile`: for lines along y.
    """
    _, height, width = labels.shape
    for z in range(first, stop):
        for y in range(height):
            _transform_row(labels[z, y : y + 1], table, squares, out[z, y])
        for x in range(0, width, LINES):
            fetch_regions(labels[z], table, x, tile.regions)
            fetch(out[z], x, tile.heights)
            transform(tile, weight)
            put(tile, out[z], x)


@inlined
def _transform_row(labels, table, squares, out):  # type: ignore[no-untyped-def]
    """Squared distances within a contiguous row, to the ends of each voxel's run."""
    size, begin = out.size, 0
    while begin < size:
        end = _end_of_run(labels, table, begin)
        if end - begin == size:
            out[:] = UNREACHED
        elif begin == 0:
            _fall(squares, out[:end])
        elif end == size:
            _rise(squares, out[begin:])
        else:
            middle = (begin + end) // 2
            _rise(squares, out[begin:middle])
            _fall(squares, out[middle:end])
        begin = end


@inlined
def _end_of_run(labels, table, begin):  # type: ignore[no-untyped-def]
    """The first voxel after `begin` that is of another region; the size of the row if there is none."""
    size, label = labels.shape[1], labels[0, begin]
    end = begin + 1
    while end + LINES <= size and every(load(labels, 0, end) == spread(label)):
        end += LINES
    while end < size and table[labels[0, end]] == table[label]:
        end += 1
    return end


@inlined
def _rise(squares, out):  # type: ignore[no-untyped-def]
    """Squared distances to the voxel just before `out`."""
    for i in range(out.size):
        out[i] = squares[i + 1]


@inlined
def _fall(squares, out):  # type: ignore[no-untyped-def]
    """Squared distances to the voxel just after `out`."""
    for i in range(out.size):
        out[i] = squares[out.size - i]


@compiled
def transform_columns(labels, table, weight, out, tile, first, stop, maxima, sums):  # type: ignore[no-untyped-def]
    """Distances of the rows y = first … stop − 1: along z, then the root; adds to `maxima` and `sums`.

    `weight`: float32, the squared distance of one step along z. `out`: float32 (z, y, x), squared distances
    within planes, and what becomes of them. `tile`: for lines along z.
    """
    width = labels.shape[2]
    for y in range(first, stop):
        for x in range(0, width, LINES):
            fetch_regions(labels[:, y], table, x, tile.regions)
            fetch(out[:, y], x, tile.heights)
            transform(tile, weight)
            if x + LINES <= width:
                _finish(tile, out[:, y], x, maxima, sums)
            else:
                put(tile, out[:, y], x)
                _finish_rest(tile.regions, out[:, y], x, maxima, sums)


@inlined
def _finish(tile, out, column, maxima, sums):  # type: ignore[no-untyped-def]
    """Distances of a tile into `out`; maxima and sums of each line, counted where its region ends."""
    regions, lowest, squares, maximum, amount = (
        tile.regions,
        tile.lowest,
        tile.squares,
        tile.maximum,
        tile.sum,
    )
    store(maximum, 0, 0, spread(np.float32(0)))
    store(amount, 0, 0, spread(0.0))
    for p in range(len(out)):
        if p > 0 and not every(load(regions, p, 0) == load(regions, p - 1, 0)):
            for i in range(LINES):
                if regions[p, i] != regions[p - 1, i]:
                    _count(regions[p - 1, i], maximum[0, i], amount[0, i], maxima, sums)
                    maximum[0, i] = amount[0, i] = 0
        distances = root(min(load(lowest, p, 0), load(squares, p, 0)))
        store(out, p, column, distances)
        store(maximum, 0, 0, max(load(maximum, 0, 0), distances))
        store(amount, 0, 0, load(amount, 0, 0) + widened(distances))
    for i in range(LINES):
        _count(regions[len(out) - 1, i], maximum[0, i], amount[0, i], maxima, sums)


@inlined
def _finish_rest(regions, out, column, maxima, sums):  # type: ignore[no-untyped-def]
    """The same for the squared distances in the columns of `out` that are too few for a tile."""
    for p in range(len(out)):
        for i in range(out.shape[1] - column):
            distance = np.sqrt(out[p, column + i])
            out[p, column + i] = distance
            _count(regions[p, i], distance, distance, maxima, sums)


@inlined
def _count(region, maximum, amount, maxima, sums):  # type: ignore[no-untyped-def]
    maxima[region] = max(maxima[region], maximum)
    sums[region] += amount


@compiled
def invert_planes(labels, levels, values, first, stop):  # type: ignore[no-untyped-def]
    """Φ = M − D in place in the planes z = first … stop − 1; `levels` is M by label."""
    for z in range(first, stop):
        for y in range(labels.shape[1]):
            row, phi = labels[z, y], values[z, y]
            for x in range(row.size):
                phi[x] = levels[row[x]] - phi[x]


@compiled
def quantise_planes(labels, levels, values, offset, scale, out, first, stop):  # type: ignore[no-untyped-def]
    """(Φ − offset) / scale to the nearest, Φ = M − D, in the planes z = first … stop − 1 of `out`."""
    for z in range(first, stop):
        for y in range(labels.shape[1]):
            row, distances, stored = labels[z, y], values[z, y], out[z, y]
            for x in range(row.size):
                phi = levels[row[x]] - distances[x]
                stored[x] = np.uint16(np.int32(np.rint((phi - offset) / scale)))
