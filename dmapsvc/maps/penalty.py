"""The error-penalising distance map Φ of a label map: the public function and its result.

Distances come from a backend. What Φ is, and what a volume without any boundary has instead, is decided here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmapsvc.errors import BadInput, BadSpec
from dmapsvc.maps.backends import choose_backend, load_backend
from dmapsvc.maps.regions import RegionMap, region_map
from dmapsvc.region import Region, Scale
from dmapsvc.spec import LONGEST_SIDE, SHORTEST_SIDE, MapSpec, Spacing, is_side

_VOXEL: Spacing = (1.0, 1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class PenaltyMap:
    """Φ of one label map.

    `values`: float32 (z, y, x), in voxels or mm as `spec.units` says, unscaled. `regions`: the background
    first if it has voxels, then the classes that are present, in the order of `spec.labels` or ascending.
    `absent`: labels of `spec` that no voxel has. `backend`: which one measured the distances.
    `indices`: region of each voxel, uint8 or uint16 (z, y, x): 0 the background, i the i-th class.
    """

    values: NDArray[np.float32]
    regions: tuple[Region, ...]
    absent: tuple[int, ...]
    spec: MapSpec
    backend: str
    indices: NDArray[np.uint8] | NDArray[np.uint16]

    def scaled(self, scale: Scale) -> NDArray[np.float32]:
        """A copy of Φ in a scale, float32 (z, y, x), to be used in the weight 1 + Φ; see `Region.scaling`."""
        classes = self.spec.labels or [region.value for region in self.regions if region.value]
        index = {value: i for i, value in enumerate((0, *classes))}
        factor, offset = np.zeros((2, len(index)), np.float32)
        for region in self.regions:
            factor[index[region.value]], offset[index[region.value]] = region.scaling(scale)
        scaled = np.empty_like(self.values)
        for indices, phi, out in zip(self.indices, self.values, scaled, strict=True):
            np.multiply(phi, factor[indices], out=out)
            out += offset[indices]
        return scaled


def penalty_map(
    labels: NDArray[Any],
    spacing: Spacing | None = None,
    spec: MapSpec = MapSpec(),  # noqa: B008  # frozen
    *,
    backend: str = "auto",
    threads: int | None = None,
) -> PenaltyMap:
    """Φ of `labels`, as in Calivá et al. 2019, "Distance Map Loss Penalty Term for Semantic Segmentation".

    `labels`: a label map (z, y, x), of any integer type, byte order and memory layout, or bool: True is
    label 1. `spacing`: (z, y, x) in mm, needed for `units="mm"` and ignored for voxels.
    With the regions the background and each class, D(v) is the Euclidean distance from voxel v to the
    nearest voxel of another region, M the maximum of D over a region, and Φ(v) = M(region of v) − D(v).
    The edge of the volume is no boundary. In a volume of one region Φ is 0 and the region `degenerate`.
    `threads`: how many the backend may use; all cores this process may use if None.

    Raises BadLabels if `labels` is no label map, BadSpec for a spacing that is missing or that no voxel has
    (`is_side`), BadInput for less than one thread, DeviceFailed if the backend does not exist or does not
    work here.
    """
    if threads is not None and threads < 1:
        raise BadInput(f"{threads} threads", "at least 1 is wanted")
    sampling = _VOXEL if spec.units == "voxel" else _checked_spacing(spacing)
    regions = region_map(labels, spec)
    name = choose_backend(backend)
    if len(regions.present) == 1:
        values, records = _without_boundary(regions)
    else:
        values, records = _with_boundary(regions, sampling, name, threads or len(os.sched_getaffinity(0)))
    return PenaltyMap(
        values=values,
        regions=records,
        absent=tuple(
            label for label, count in zip(regions.values, regions.voxels, strict=True) if label and not count
        ),
        spec=spec,
        backend=name,
        indices=regions.indices,
    )


def _checked_spacing(spacing: Spacing | None) -> Spacing:
    if spacing is None:
        raise BadSpec(
            "a map in mm of a volume without spacing", "mm need the spacing", "Give it, or take units 'voxel'"
        )
    if len(spacing) != 3 or not all(map(is_side, spacing)):
        raise BadSpec(
            f"spacing {spacing}",
            "three positive numbers of mm are wanted: z, y, x",
            f"Give each from {SHORTEST_SIDE:g} to {LONGEST_SIDE:g}",
        )
    z, y, x = map(float, spacing)
    return z, y, x


def _without_boundary(regions: RegionMap) -> tuple[NDArray[np.float32], tuple[Region, ...]]:
    (index,) = regions.present
    only = Region(
        value=regions.values[index], voxels=regions.voxels[index], maximum=0.0, mean_phi=0.0, degenerate=True
    )
    return np.zeros(regions.indices.shape, np.float32), (only,)


def _with_boundary(
    regions: RegionMap, sampling: Spacing, name: str, threads: int
) -> tuple[NDArray[np.float32], tuple[Region, ...]]:
    backend = load_backend(name)
    distances = backend.measure(regions, sampling, threads)
    backend.invert(regions, distances, threads)
    records = (
        Region(
            value=regions.values[index],
            voxels=regions.voxels[index],
            maximum=float(distances.maxima[index]),
            # the sum of D rounds: in a region one voxel thick the mean of Φ is 0, not a little less
            mean_phi=max(0.0, float(distances.maxima[index] - distances.sums[index] / regions.voxels[index])),
        )
        for index in regions.present
    )
    return distances.values, tuple(records)
