"""Distances on a GPU by cuCIM's transform, or by CuPy's own copy of it: the background, then each region.

The transform knows two regions only, so it is called once for each: on the whole volume for the background,
in a box for the others. Everything stays on the card until it is asked for. What the transform can hold is
judged by `refusal`; a fused pass over all regions at once is `cuda_backend`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import cupy
import numpy as np
from numpy.typing import NDArray

from dmapsvc.maps.boxes import WHOLE, Box, widened
from dmapsvc.maps.cards import card_errors, shortage
from dmapsvc.maps.regions import RegionMap
from dmapsvc.spec import Quantisation, Spacing

side_by_side = 1

LONGEST_AXIS = 1024
"""Beyond it 3-D coordinates take 64 bits each, and are added up in 32 from a side of 1312 on; in 2-D, older
releases were wrong (rapidsai/cucim issue 392)."""

_BLOCK = 32  # every axis is padded to the longest, rounded up to this

# Read in the source of cuCIM 26.10 and CuPy 14: of the padded cube a byte mask and two int32 volumes; of the
# volume itself region indices of 16 bits, a mask, and float32 distances of a region and of all.
_BYTES_PER_PADDED, _BYTES_PER_VOXEL = 9, 11
_BYTES_BESIDES = 64 << 20  # kernels, and what CuPy's pool rounds up


@dataclass(frozen=True, kw_only=True)
class CardDistances:
    """D in the memory of the card; see `distances.Distances`. `indices`: region of each voxel, there too."""

    indices: Any
    distances: Any
    maxima: NDArray[np.float64]
    sums: NDArray[np.float64]

    def values(self) -> NDArray[np.float32]:
        """D."""
        return _to_host(self.distances)

    def phi(self) -> NDArray[np.float32]:
        """Φ, inverted on the card."""
        with card_errors():
            return _to_host(self._phi())

    def quantised(self, step: Quantisation) -> NDArray[np.uint16]:
        """Φ as it is stored, inverted and quantised on the card: two bytes a voxel come back."""
        with card_errors():
            phi = self._phi()
            phi -= np.float32(step.add_offset)
            phi /= np.float32(step.scale_factor)
            return _to_host(cupy.rint(phi, out=phi).astype(np.uint16))

    def _phi(self) -> Any:
        phi = cupy.take(cupy.asarray(self.maxima.astype(np.float32)), self.indices)
        phi -= self.distances
        return phi


def measure(regions: RegionMap, sampling: Spacing, threads: int) -> CardDistances:
    """D of every voxel, float32; see `Backend.measure`. No thread of the host is used but the caller's."""
    with card_errors():
        indices = cupy.take(cupy.asarray(regions.table), cupy.asarray(regions.labels))
        distances = cupy.zeros(indices.shape, np.float32)
        maxima = cupy.zeros(len(regions.values), np.float32)
        sums = cupy.zeros(len(regions.values), np.float64)
        for index in regions.present:
            maxima[index], sums[index] = _measure_region(indices, index, sampling, distances)
        return CardDistances(
            indices=indices,
            distances=distances,
            maxima=_to_host(maxima).astype(np.float64),
            sums=_to_host(sums),
        )


def refusal(regions: RegionMap) -> str | None:
    """Why the transform is not for this volume, or the card not now; see `Backend.refusal`."""
    shape = regions.labels.shape
    if max(shape) > LONGEST_AXIS:
        return f"an axis of {max(shape)} voxels is longer than {LONGEST_AXIS}"
    side = -(-max(shape) // _BLOCK) * _BLOCK
    padded: int = side ** (2 if 1 in shape else 3)
    return shortage(_BYTES_PER_PADDED * padded + _BYTES_PER_VOXEL * math.prod(shape) + _BYTES_BESIDES)


def mend() -> None:
    """Nothing here can be made anew; see `Backend.mend`."""


def _measure_region(indices: Any, index: int, sampling: Spacing, distances: Any) -> tuple[Any, Any]:
    """Write D of a region into `distances`, which are 0 there; its maximum and sum, still on the card."""
    member = indices == index
    box = widened(_bounding_box(member)) if index else WHOLE
    inside = _transform(member[box], sampling)  # 0 outside the region
    part = distances[box]
    part += inside
    return inside.max(), inside.sum(dtype=np.float64)


def _transform(member: Any, sampling: Spacing) -> Any:
    """Distances inside a region, 0 outside: float32, in the shape of `member`, bool (z, y, x) on the card."""
    flat, sides = member, list(sampling)
    if 1 in member.shape:  # the transform would pad that axis to the longest, too; it takes 2-D as well
        axis = member.shape.index(1)
        flat = member.squeeze(axis)
        del sides[axis]
    if len(set(sides)) > 1:
        return _implementation()(flat, sampling=tuple(sides)).reshape(member.shape)
    distances = _implementation()(flat)  # in voxels it compares whole numbers
    distances *= np.float32(sides[0])
    return distances.reshape(member.shape)


@cache
def _implementation() -> Callable[..., Any]:
    """The transform of cuCIM, or without it CuPy's copy, which gives float64 unless it is told not to."""
    if find_spec("cucim") is not None:
        transform: Callable[..., Any] = import_module(
            "cucim.core.operations.morphology"
        ).distance_transform_edt
        return transform
    copy = import_module("cupyx.scipy.ndimage").distance_transform_edt
    return lambda image, sampling=None: copy(image, sampling, float64_distances=False)


def _bounding_box(member: Any) -> Box:
    """Where a region lies, from three small vectors that come to the host."""
    lines = member.any(axis=2)
    occupied = (lines.any(axis=1), lines.any(axis=0), member.any(axis=0).any(axis=0))
    return tuple(slice(int(there[0]), int(there[-1]) + 1) for there in map(_places, occupied))


def _places(occupied: Any) -> NDArray[np.intp]:
    return np.flatnonzero(_to_host(occupied))


def _to_host(array: Any) -> NDArray[Any]:
    with card_errors():
        host: NDArray[Any] = cupy.asnumpy(array)
    return host
