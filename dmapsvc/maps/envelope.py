"""The lower envelope of parabolas on a line, for LINES parallel lines at once.

The parabolas of a line have one width, and each voxel of the line is the foot, or site, of one. What their
heights mean is decided elsewhere.
"""

from __future__ import annotations

import numpy as np

from dmapsvc.compiling import inlined
from dmapsvc.maps.vectors import choose, greatest, least, load, spread, store

UNREACHED = np.float32(np.inf)


@inlined
def lower_envelope(heights, weight, lowest, nearest, farthest):  # type: ignore[no-untyped-def]
    """lowest[p] = min over q of heights[q] + weight·(p − q)², for every line of a tile.

    `heights` and `lowest`: float32 (size, LINES), two arrays. A row of `heights` is UNREACHED in all lines or
    in none. `nearest` and `farthest`, int64 of size + 1, are overwritten.

    A site that is lowest at p comes before none that is lowest at a smaller p (the matrix of all candidates
    is totally monotone: Aggarwal et al. 1987, "Geometric applications of a matrix-searching algorithm"). So
    the middle of a line is searched first, then the middles of both halves, each among the sites between
    those of its neighbours only, down to every fourth place; the three between two such are searched
    together. That is about log₂(size) candidates a voxel, and no branch that hangs on a single voxel. Only
    sums of positive numbers are compared, so that float32 loses its last digits and no more.
    """
    size = len(heights)
    first, last = _reached(heights)
    if first > last:
        lowest[:] = UNREACHED
        return
    nearest[0] = first  # place 1 is voxel 0: the halves begin at a place that is known
    stride = 4
    while 2 * stride <= size:
        stride *= 2
    while stride >= 4:
        for place in range(stride, size + 1, 2 * stride):
            after = place + stride
            sites = nearest[place - stride], farthest[after] if after <= size else last
            nearest[place], farthest[place] = _search(heights, weight, place - 1, sites, lowest)
        stride //= 2
    for place in range(0, size, 4):
        after = place + 4
        sites = nearest[place], farthest[after] if after <= size else last
        _fill_in(heights, weight, place, sites, lowest)


@inlined
def _reached(heights):  # type: ignore[no-untyped-def]
    """The first and the last row that is not UNREACHED; the first is larger if there is none."""
    first, last = 0, len(heights) - 1
    while first <= last and heights[first, 0] == UNREACHED:
        first += 1
    while first < last and heights[last, 0] == UNREACHED:
        last -= 1
    return first, last


@inlined
def _search(heights, weight, place, sites, lowest):  # type: ignore[no-untyped-def]
    """lowest[place] by the sites from … to; the first and the last of them that are lowest on some line."""
    best, chosen = spread(UNREACHED), spread(np.int32(sites[0]))
    for site in range(sites[0], sites[1] + 1):
        steps = np.float32(place - site)
        candidate = load(heights, site, 0) + spread(weight * (steps * steps))
        chosen = choose(candidate < best, spread(np.int32(site)), chosen)
        best = min(candidate, best)
    store(lowest, place, 0, best)
    return np.int64(least(chosen)), np.int64(greatest(chosen))


@inlined
def _fill_in(heights, weight, place, sites, lowest):  # type: ignore[no-untyped-def]
    """lowest[place … place + 2], as far as the line goes, by the sites from … to."""
    best = again = third = spread(UNREACHED)
    for site in range(sites[0], sites[1] + 1):
        height = load(heights, site, 0)
        steps = np.float32(place - site)
        best = min(height + spread(weight * (steps * steps)), best)
        steps += np.float32(1)
        again = min(height + spread(weight * (steps * steps)), again)
        steps += np.float32(1)
        third = min(height + spread(weight * (steps * steps)), third)
    store(lowest, place, 0, best)
    if place + 1 < len(heights):
        store(lowest, place + 1, 0, again)
    if place + 2 < len(heights):
        store(lowest, place + 2, 0, third)
