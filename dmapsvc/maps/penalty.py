"""The error-penalising distance map Φ of a label map, as float32 for people and quantised for the store.

Distances come from a backend. What Φ is, and what a volume without any boundary has instead, is decided here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from dmapsvc.errors import BadInput, BadSpec
from dmapsvc.maps.backends import choose_backend, measure
from dmapsvc.maps.distances import Distances
from dmapsvc.maps.regions import RegionMap, region_map
from dmapsvc.quantised import QuantisedMap
from dmapsvc.region import Region, Scale
from dmapsvc.spec import LONGEST_SIDE, SHORTEST_SIDE, MapSpec, Quantisation, Spacing, is_side, quantisation

_T = TypeVar("_T")
_VOXEL: Spacing = (1.0, 1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class PenaltyMap:
    """Φ of one label map.

    `values`: float32 (z, y, x), in voxels or mm as `spec.units` says, unscaled. `regions`: the background
    first if it has voxels, then the classes that are present, in the order of `spec.labels` or ascending.
    `absent`: labels of `spec` that no voxel has. `backend`: which one measured the distances.
    `notes`: why it was not the one that would come first. `region_map`: the region of each voxel.
    """

    values: NDArray[np.float32]
    regions: tuple[Region, ...]
    absent: tuple[int, ...]
    spec: MapSpec
    backend: str
    notes: tuple[str, ...]
    region_map: RegionMap

    def scaled(self, scale: Scale) -> NDArray[np.float32]:
        """A copy of Φ in a scale, float32 (z, y, x), to be used in the weight 1 + Φ; see `Region.scaling`."""
        classes = self.spec.labels or [region.value for region in self.regions if region.value]
        index = {value: i for i, value in enumerate((0, *classes))}
        factor, offset = np.zeros((2, len(index)), np.float32)
        for region in self.regions:
            factor[index[region.value]], offset[index[region.value]] = region.scaling(scale)
        scaled = np.empty_like(self.values)
        table = self.region_map.table
        for labels, phi, out in zip(self.region_map.labels, self.values, scaled, strict=True):
            np.multiply(phi, factor[table][labels], out=out)
            out += offset[table][labels]
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
    mapped = _map(labels, spacing, spec, backend, threads, _phi)
    return PenaltyMap(
        values=mapped.taken,
        regions=mapped.regions,
        absent=mapped.absent,
        spec=spec,
        backend=mapped.backend,
        notes=mapped.notes,
        region_map=mapped.region_map,
    )


def quantised_map(
    labels: NDArray[Any],
    spacing: Spacing | None = None,
    spec: MapSpec = MapSpec(),  # noqa: B008  # frozen
    *,
    backend: str = "auto",
    threads: int | None = None,
) -> QuantisedMap:
    """Φ of `labels` as the store keeps it: `penalty_map`, quantised by the rule of `spec.quantisation`.

    Inversion and quantisation are one pass, so that no float32 Φ is ever made. Parameters and errors as for
    `penalty_map`.
    """
    mapped = _map(labels, spacing, spec, backend, threads, _quantised)
    values, step = mapped.taken
    return QuantisedMap(
        values=values,
        quantisation=step,
        regions=mapped.regions,
        absent=mapped.absent,
        spec=spec,
        backend=mapped.backend,
        notes=mapped.notes,
    )


@dataclass(frozen=True, kw_only=True)
class _Mapped(Generic[_T]):
    """The regions of a label map and what was taken of their distances."""

    region_map: RegionMap
    regions: tuple[Region, ...]
    taken: _T
    backend: str
    notes: tuple[str, ...] = ()

    @property
    def absent(self) -> tuple[int, ...]:
        there = zip(self.region_map.values, self.region_map.voxels, strict=True)
        return tuple(label for label, count in there if label and not count)


def _phi(distances: Distances, sampling: Spacing) -> NDArray[np.float32]:
    return distances.phi()


def _quantised(distances: Distances, sampling: Spacing) -> tuple[NDArray[np.uint16], Quantisation]:
    step = quantisation(float(distances.maxima.max()), sampling)
    return distances.quantised(step), step


def _map(
    labels: NDArray[Any],
    spacing: Spacing | None,
    spec: MapSpec,
    backend: str,
    threads: int | None,
    take: Callable[[Distances, Spacing], _T],
) -> _Mapped[_T]:
    """Measure the distances and take of them what is wanted, of zeros where there is no boundary."""
    if threads is not None and threads < 1:
        raise BadInput(f"{threads} threads", "at least 1 is wanted")
    sampling = _VOXEL if spec.units == "voxel" else _checked_spacing(spacing)
    regions = region_map(labels, spec)
    if len(regions.present) == 1:
        return _Mapped(
            region_map=regions,
            regions=(_whole(regions),),
            taken=take(_NoBoundary(regions), sampling),
            backend=choose_backend(backend),
        )
    threads = threads or len(os.sched_getaffinity(0))
    measured = measure(regions, sampling, backend, threads, lambda distances: take(distances, sampling))
    return _Mapped(
        region_map=regions,
        regions=tuple(_region(regions, measured.distances, index) for index in regions.present),
        taken=measured.taken,
        backend=measured.backend,
        notes=measured.notes,
    )


class _NoBoundary:
    """Distances in a volume of one region: 0, and Φ with them; see `distances.Distances`."""

    def __init__(self, regions: RegionMap) -> None:
        self._shape = regions.labels.shape
        self.maxima = self.sums = np.zeros(len(regions.values))

    def values(self) -> NDArray[np.float32]:
        return np.zeros(self._shape, np.float32)

    def phi(self) -> NDArray[np.float32]:
        return np.zeros(self._shape, np.float32)

    def quantised(self, step: Quantisation) -> NDArray[np.uint16]:
        return np.zeros(self._shape, np.uint16)


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


def _whole(regions: RegionMap) -> Region:
    (index,) = regions.present
    return Region(
        value=regions.values[index], voxels=regions.voxels[index], maximum=0.0, mean_phi=0.0, degenerate=True
    )


def _region(regions: RegionMap, distances: Distances, index: int) -> Region:
    voxels, maximum = regions.voxels[index], float(distances.maxima[index])
    return Region(
        value=regions.values[index],
        voxels=voxels,
        maximum=maximum,
        # the sum of D rounds: in a region one voxel thick the mean of Φ is 0, not a little less
        mean_phi=max(0.0, maximum - float(distances.sums[index]) / voxels),
    )
