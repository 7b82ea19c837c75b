"""Distances by SciPy, a region at a time in its own box: the oracle of faster backends, and the fallback.

Nothing here is fast; what a box must hold is in `boxes`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dmapsvc.maps.boxes import WHOLE, widened
from dmapsvc.maps.regions import RegionMap
from dmapsvc.quantised import quantise
from dmapsvc.spec import Quantisation, Spacing

side_by_side = 1


@dataclass(frozen=True, kw_only=True)
class HostDistances:
    """D in the memory of the host; see `distances.Distances`."""

    indices: NDArray[np.uint8] | NDArray[np.uint16]
    distances: NDArray[np.float32]
    maxima: NDArray[np.float64]
    sums: NDArray[np.float64]

    def values(self) -> NDArray[np.float32]:
        """D."""
        return self.distances

    def phi(self) -> NDArray[np.float32]:
        """Φ, in place of D, a plane at a time."""
        maxima = self.maxima.astype(np.float32)
        for indices, values in zip(self.indices, self.distances, strict=True):
            np.subtract(maxima[indices], values, out=values)
        return self.distances

    def quantised(self, step: Quantisation) -> NDArray[np.uint16]:
        """Φ as it is stored, a plane at a time."""
        maxima = self.maxima.astype(np.float32)
        stored = np.empty(self.indices.shape, np.uint16)
        for indices, values, out in zip(self.indices, self.distances, stored, strict=True):
            out[...] = quantise(maxima[indices] - values, step)
        return stored


def measure(regions: RegionMap, sampling: Spacing, threads: int) -> HostDistances:
    """D of every voxel, rounded from float64; see `Backend.measure`. SciPy uses one thread."""
    indices = regions.indices()
    values = np.empty(indices.shape, np.float32)
    maxima = np.zeros(len(regions.values))
    sums = np.zeros(len(regions.values))
    found = ndimage.find_objects(indices, max_label=len(regions.values) - 1)
    for index in regions.present:
        box = widened(found[index - 1]) if index else WHOLE
        member = indices[box] == index
        inside = ndimage.distance_transform_edt(member, sampling=sampling)[member].astype(np.float32)
        values[box][member] = inside
        maxima[index] = inside.max()
        sums[index] = inside.sum(dtype=np.float64)
    return HostDistances(indices=indices, distances=values, maxima=maxima, sums=sums)


def refusal(regions: RegionMap) -> str | None:
    """Nothing is refused; see `Backend.refusal`."""
    return None


def mend() -> None:
    """Nothing here can be made anew; see `Backend.mend`."""
