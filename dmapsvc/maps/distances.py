"""What a distance backend gives and is given: the contract that every backend of this folder fulfils."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dmapsvc.maps.regions import RegionMap
from dmapsvc.spec import Spacing


@dataclass(frozen=True, kw_only=True)
class Distances:
    """D of every voxel, the distance to the nearest voxel of another region, and its summary by region.

    `values`: float32 (z, y, x), in the unit of the sampling, C order, owned by the caller. `maxima` and
    `sums`: float64 by region index, the largest D and the sum of D; 0 for an index without voxels.
    """

    values: NDArray[np.float32]
    maxima: NDArray[np.float64]
    sums: NDArray[np.float64]


class Backend(Protocol):
    """A way to measure distances; a module of this folder each.

    `regions` has at least two regions with voxels: a volume of one region never reaches a backend, because
    every library invents another distance for it. The edge of the volume is not a region. `sampling` is the
    distance between neighbours along z, y and x. D is within 1e-5 × D of the exact Euclidean distance.
    """

    def measure(self, regions: RegionMap, sampling: Spacing, threads: int) -> Distances:
        """D of every voxel and its summary by region."""

    def invert(self, regions: RegionMap, distances: Distances, threads: int) -> None:
        """Turn D into Φ = M − D in place, M the maximum of the voxel's own region."""

    def mend(self) -> None:
        """Make anew what may be broken on disk: called once, before a backend that failed is given up."""
