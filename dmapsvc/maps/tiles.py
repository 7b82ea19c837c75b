"""A tile: LINES parallel lines side by side, in memory of their own, small enough for the nearest cache.

Here a tile is filled, and squared distances grow along its lines. Which lines of a volume it holds is decided
elsewhere.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dmapsvc.compiling import inlined
from dmapsvc.maps.envelope import lower_envelope
from dmapsvc.maps.vectors import LINES, choose, every, load, spread, store


class Tile(NamedTuple):
    """Arrays of (size, LINES), where nothing else is said. Compiled code takes it as it is.

    `regions`: region indices. `heights`: squared distances by the axes that are done. `squares`: squared
    distances along the line, to its nearest voxel of another region. `lowest`: what the heights
    contribute to the result. `nearest` and `farthest`, (size + 1): for `lower_envelope`. `maximum` and
    `sum`, (1, LINES): of a line's distances.
    """

    regions: NDArray[np.uint16]
    heights: NDArray[np.float32]
    squares: NDArray[np.float32]
    lowest: NDArray[np.float32]
    nearest: NDArray[np.int64]
    farthest: NDArray[np.int64]
    maximum: NDArray[np.float32]
    sum: NDArray[np.float64]


def new_tile(size: int) -> Tile:
    """A tile for lines of `size` voxels."""
    return Tile(
        regions=np.empty((size, LINES), np.uint16),
        heights=np.empty((size, LINES), np.float32),
        squares=np.empty((size, LINES), np.float32),
        lowest=np.empty((size, LINES), np.float32),
        nearest=np.empty(size + 1, np.int64),
        farthest=np.empty(size + 1, np.int64),
        maximum=np.empty((1, LINES), np.float32),
        sum=np.empty((1, LINES), np.float64),
    )


@inlined
def fetch(sheet, column, rows):  # type: ignore[no-untyped-def]
    """rows[p, i] = sheet[p, column + i]; beyond the sheet its last column again."""
    width = sheet.shape[1]
    if column + LINES <= width:
        for p in range(len(rows)):
            store(rows, p, 0, load(sheet, p, column))
    else:
        for p in range(len(rows)):
            for i in range(LINES):
                rows[p, i] = sheet[p, min(column + i, width - 1)]


@inlined
def fetch_regions(labels, table, column, rows):  # type: ignore[no-untyped-def]
    """rows[p, i] = table[labels[p, column + i]]; beyond the sheet its last column again."""
    width = labels.shape[1]
    whole = column + LINES <= width
    for p in range(len(rows)):
        if whole and p > 0 and every(load(labels, p, column) == load(labels, p - 1, column)):
            store(rows, p, 0, load(rows, p - 1, 0))
        else:
            for i in range(LINES):
                rows[p, i] = table[labels[p, min(column + i, width - 1)]]


@inlined
def put(tile, sheet, column):  # type: ignore[no-untyped-def]
    """The squared distances of a tile into sheet[p, column + i], as far as the sheet goes."""
    lowest, squares, width = tile.lowest, tile.squares, sheet.shape[1]
    if column + LINES <= width:
        for p in range(len(lowest)):
            store(sheet, p, column, min(load(lowest, p, 0), load(squares, p, 0)))
    else:
        for p in range(len(lowest)):
            for i in range(width - column):
                sheet[p, column + i] = min(lowest[p, i], squares[p, i])


@inlined
def transform(tile, weight):  # type: ignore[no-untyped-def]
    """Make min(tile.squares, tile.lowest) the squared distances, from `tile.heights` and `tile.regions`.

    With h(q) the height of voxel q, r(p) the squared distance from voxel p to the nearest voxel of another
    region on its line, and w the squared distance between neighbours, that of p is

        min(r(p), min over q of h(q) + w·(p − q)²)

    The inner minimum (Felzenszwalb and Huttenlocher 2012, "Distance transforms of sampled functions") is over
    all voxels of the line, whatever their region: h(q) says nothing about p where q is of another region, but
    then w·(p − q)² alone is no less than r(p).
    """
    _measure_lines(tile.regions, weight, tile.squares)
    lower_envelope(tile.heights, weight, tile.lowest, tile.nearest, tile.farthest)


@inlined
def _measure_lines(regions, weight, squares):  # type: ignore[no-untyped-def]
    """Squared distances to the nearest voxel of another region on the same line: steps from both sides."""
    one = spread(np.float32(1))
    steps, here = spread(np.float32(np.inf)), load(regions, 0, 0)
    for p in range(len(regions)):
        before, here = here, load(regions, p, 0)
        steps = choose(here == before, steps + one, one)
        store(squares, p, 0, steps)
    steps = spread(np.float32(np.inf))
    for p in range(len(regions) - 1, -1, -1):
        after, here = here, load(regions, p, 0)
        steps = choose(here == after, steps + one, one)
        fewest = min(steps, load(squares, p, 0))
        store(squares, p, 0, spread(weight) * (fewest * fewest))
