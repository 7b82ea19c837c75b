"""Distances by SciPy, a region at a time: the oracle of faster backends, and the fallback.

A region is transformed within its bounding box widened by one voxel, which is exact: the nearest voxel of
another region never lies further out. Without the extra voxel it would be wrong.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from dmapsvc.maps.distances import Distances
from dmapsvc.maps.regions import RegionMap
from dmapsvc.spec import Spacing

_WHOLE = (slice(None), slice(None), slice(None))


def measure(regions: RegionMap, sampling: Spacing, threads: int) -> Distances:
    """D of every voxel, rounded from float64; see `Backend.measure`. SciPy uses one thread."""
    indices = regions.indices
    values = np.empty(indices.shape, np.float32)
    maxima = np.zeros(len(regions.values))
    sums = np.zeros(len(regions.values))
    boxes = [_WHOLE, *ndimage.find_objects(indices, max_label=len(regions.values) - 1)]
    for index in regions.present:
        box = _widened(boxes[index])
        member = indices[box] == index
        inside = ndimage.distance_transform_edt(member, sampling=sampling)[member].astype(np.float32)
        values[box][member] = inside
        maxima[index] = inside.max()
        sums[index] = inside.sum(dtype=np.float64)
    return Distances(values=values, maxima=maxima, sums=sums)


def invert(regions: RegionMap, distances: Distances, threads: int) -> None:
    """Turn D into Φ in place, a plane at a time; see `Backend.invert`."""
    maxima = distances.maxima.astype(np.float32)
    for indices, values in zip(regions.indices, distances.values, strict=True):
        np.subtract(maxima[indices], values, out=values)


def mend() -> None:
    """Nothing here can be made anew; see `Backend.mend`."""


def _widened(box: tuple[slice, ...]) -> tuple[slice, ...]:
    if box is _WHOLE:
        return box
    return tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in box)
