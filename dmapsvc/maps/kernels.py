"""The compiled passes of the numba backend; how they are spread over threads is not decided here.

Squared distances grow an axis at a time (Felzenszwalb and Huttenlocher 2012, "Distance transforms of sampled
functions"), for all regions at once: along a line every run of one region is transformed on its own, and the
voxels just beyond its two ends, which are of another region, are sites of height 0. What lies further out
cannot be nearer. Lines that are strided in memory are gathered 16 at a time, a cache line of float32.
"""

from __future__ import annotations

import numpy as np

from dmapsvc.maps.compiling import compiled

UNREACHED = np.float32(np.inf)  # squared distance of a voxel that has seen no other region yet
_LINES = 16


@compiled()
def _transform_row(row, table, out, squares):  # type: ignore[no-untyped-def]
    """Squared distances within a contiguous row, to the ends of each voxel's run."""
    size = row.size
    begin = 0
    while begin < size:
        end = begin + 1
        region = table[row[begin]]
        while end < size and table[row[end]] == region:
            end += 1
        if begin == 0 and end == size:
            out[:] = UNREACHED
        elif begin == 0:
            for x in range(begin, end):
                out[x] = squares[end - x]
        elif end == size:
            for x in range(begin, end):
                out[x] = squares[x - begin + 1]
        else:
            for x in range(begin, end):
                out[x] = min(squares[x - begin + 1], squares[end - x])
        begin = end


@compiled()
def _transform_line(line, heights, weight, reciprocals, levels, scratch):  # type: ignore[no-untyped-def]
    """Lower envelopes of the parabolas weight·(x − q)² + heights[q], run by run, in place of `heights`.

    The level of a site q is weight·q² + heights[q]: two parabolas cross at the difference of their levels
    over 2·weight times the difference of their sites. `reciprocals` holds 1 / (2·weight·d) by d; `levels`
    and `scratch` are overwritten. A line of one region that has reached no other is left as it is.
    """
    size = line.size
    for x in range(size):
        levels[x] = heights[x] + weight * (np.float64(x) * np.float64(x))
    begin = 0
    while begin < size:
        end = begin + 1
        while end < size and line[end] == line[begin]:
            end += 1
        first, stop = max(begin - 1, 0), min(end + 1, size)
        following = levels[stop - 1]
        if first < begin:
            levels[first] = weight * (np.float64(first) * np.float64(first))
        if stop > end:
            levels[end] = weight * (np.float64(end) * np.float64(end))
        while first < stop and levels[first] == np.inf:
            first += 1
        if first < stop:
            count = _envelope(levels, first, stop, end - 1, reciprocals, scratch)
            _write_envelope(heights, begin, end, weight, count, scratch)
        levels[stop - 1] = following
        begin = end


@compiled()
def _envelope(levels, first, stop, farthest, reciprocals, scratch):  # type: ignore[no-untyped-def]
    """The parabolas of the sites first … stop − 1 that are the lowest somewhere before `farthest`; how many.

    Rows of `scratch`: sites, levels, and the x from which each is the lowest; the fourth is left alone.
    """
    site, level, takeover, _ = scratch
    last = 0
    top_site, top, start = first, levels[first], -np.inf
    site[last], level[last], takeover[last] = top_site, top, start
    for q in range(first + 1, stop):
        new = levels[q]
        crossing = (new - top) * reciprocals[q - top_site]
        while crossing <= start:
            last -= 1
            top_site, top, start = np.int64(site[last]), level[last], takeover[last]
            crossing = (new - top) * reciprocals[q - top_site]
        if crossing < farthest:
            last += 1
            top_site, top, start = q, new, crossing
            site[last], level[last], takeover[last] = top_site, top, start
    return last + 1


@compiled()
def _write_envelope(heights, begin, end, weight, count, scratch):  # type: ignore[no-untyped-def]
    """The lowest of `count` parabolas at begin … end − 1."""
    site, _, takeover, foot = scratch
    for k in range(count):
        # a level is no way back to the height: weight·q² may be far larger, and has swallowed its digits
        place = np.int64(site[k])
        foot[k] = np.float64(heights[place]) if begin <= place < end else 0.0
    x = begin
    for k in range(count):
        stop = end if k + 1 == count else min(end, np.int64(np.floor(takeover[k + 1])) + 1)
        q, height = site[k], foot[k]
        while x < stop:
            heights[x] = height + weight * ((np.float64(x) - q) * (np.float64(x) - q))
            x += 1


@compiled()
def transform_planes(labels, table, out, sampling, first, stop):  # type: ignore[no-untyped-def]
    """Squared distances within the planes z = first … stop − 1: along x, then along y."""
    _, height, width = labels.shape
    step = np.float64(sampling[2])
    squares = ((np.arange(width + 1) * step) ** 2).astype(np.float32)
    weight = np.float64(sampling[1]) ** 2
    reciprocals = 0.5 / (weight * np.maximum(np.arange(height + 1), 1))
    levels = np.empty(height, np.float64)
    scratch = np.empty((4, height), np.float64)
    lines = np.empty((_LINES, height), table.dtype)
    heights = np.empty((_LINES, height), np.float32)
    for z in range(first, stop):
        for y in range(height):
            _transform_row(labels[z, y], table, out[z, y], squares)
        if height == 1:
            continue
        for x in range(0, width, _LINES):
            count = min(_LINES, width - x)
            for y in range(height):
                for i in range(count):
                    lines[i, y] = table[labels[z, y, x + i]]
                    heights[i, y] = out[z, y, x + i]
            for i in range(count):
                _transform_line(lines[i], heights[i], weight, reciprocals, levels, scratch)
            for y in range(height):
                for i in range(count):
                    out[z, y, x + i] = heights[i, y]


@compiled(fastmath={"reassoc", "nsz"})
def _finish_line(line, heights, maxima, sums):  # type: ignore[no-untyped-def]
    """Distances from squared distances in place, and their maxima and sums by region."""
    for z in range(line.size):
        heights[z] = np.sqrt(heights[z])
    begin = 0
    while begin < line.size:
        region = line[begin]
        largest = np.float32(0.0)
        total = 0.0
        z = begin
        while z < line.size and line[z] == region:
            largest = max(largest, heights[z])
            total += heights[z]
            z += 1
        maxima[region] = max(maxima[region], largest)
        sums[region] += total
        begin = z


@compiled()
def transform_columns(labels, table, out, sampling, first, stop, maxima, sums):  # type: ignore[no-untyped-def]
    """Distances of the rows y = first … stop − 1: along z, then the root; adds to `maxima` and `sums`."""
    depth, _, width = labels.shape
    weight = np.float64(sampling[0]) ** 2
    reciprocals = 0.5 / (weight * np.maximum(np.arange(depth + 1), 1))
    levels = np.empty(depth, np.float64)
    scratch = np.empty((4, depth), np.float64)
    lines = np.empty((_LINES, depth), table.dtype)
    heights = np.empty((_LINES, depth), np.float32)
    for y in range(first, stop):
        for x in range(0, width, _LINES):
            count = min(_LINES, width - x)
            for z in range(depth):
                for i in range(count):
                    lines[i, z] = table[labels[z, y, x + i]]
                    heights[i, z] = out[z, y, x + i]
            for i in range(count):
                _transform_line(lines[i], heights[i], weight, reciprocals, levels, scratch)
                _finish_line(lines[i], heights[i], maxima, sums)
            for z in range(depth):
                for i in range(count):
                    out[z, y, x + i] = heights[i, z]


@compiled()
def invert_planes(labels, table, values, maxima, first, stop):  # type: ignore[no-untyped-def]
    """Φ = M − D in place in the planes z = first … stop − 1."""
    for z in range(first, stop):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                values[z, y, x] = maxima[table[labels[z, y, x]]] - values[z, y, x]


@compiled()
def quantise_planes(labels, table, values, maxima, offset, scale, out, first, stop):  # type: ignore[no-untyped-def]
    """(Φ − offset) / scale to the nearest, Φ = M − D, in the planes z = first … stop − 1 of `out`."""
    offset, scale = np.float32(offset), np.float32(scale)
    for z in range(first, stop):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                phi = maxima[table[labels[z, y, x]]] - values[z, y, x]
                out[z, y, x] = np.uint16(np.rint((phi - offset) / scale))
