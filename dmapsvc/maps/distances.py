"""What a distance backend gives and is given: the contract that every backend of this folder fulfils."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dmapsvc.maps.regions import RegionMap
from dmapsvc.spec import Quantisation, Spacing


class Distances(Protocol):
    """D of every voxel, the distance to the nearest voxel of another region, and its summary by region.

    D stays where the backend keeps it, on a card for one, until it is asked for in one of three shapes. One
    of the three may be called, once: it may take the memory of D for its own. Each gives an array (z, y, x)
    in C order that is the caller's. D and Φ are in the unit of the sampling.
    """

    @property
    def maxima(self) -> NDArray[np.float64]:
        """M, the largest D, by region index; 0 for an index without voxels."""

    @property
    def sums(self) -> NDArray[np.float64]:
        """The sum of D by region index; 0 for an index without voxels."""

    def values(self) -> NDArray[np.float32]:
        """D."""

    def phi(self) -> NDArray[np.float32]:
        """Φ = M − D, M the maximum of the voxel's own region."""

    def quantised(self, step: Quantisation) -> NDArray[np.uint16]:
        """Φ as it is stored: (Φ − `add_offset`) / `scale_factor`, to the nearest."""


class Backend(Protocol):
    """A way to measure distances; a module of this folder each.

    `side_by_side`: how many volumes it measures at once with profit.
    """

    side_by_side: int

    def measure(self, regions: RegionMap, sampling: Spacing, threads: int) -> Distances:
        """D of a volume, within 1e-5 × D of the exact Euclidean distance.

        `regions` has at least two regions with voxels: a volume of one region never reaches a backend,
        because every library invents another distance for it. The edge of the volume is not a region.
        `sampling` is the distance between neighbours along z, y and x. Raises DeviceFull, DeviceLost,
        DeviceFailed.
        """

    def refusal(self, regions: RegionMap) -> str | None:
        """Why this volume is not for this backend now, such as a card too small for it; None if it is."""

    def mend(self) -> None:
        """Make anew what may be broken on disk: called once, before a backend that failed is given up."""
