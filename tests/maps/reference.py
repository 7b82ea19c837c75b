"""Φ computed the plain way, by SciPy in float64, and label volumes to judge by it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from dmapsvc.spec import Spacing

VOXEL: Spacing = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Reference:
    """D and the region of each voxel (0 the background), for a volume of two regions or more."""

    distances: NDArray[np.float64]
    regions: dict[int, NDArray[np.bool_]]

    def maximum(self, value: int) -> float:
        return float(self.distances[self.regions[value]].max())

    def phi(self) -> NDArray[np.float64]:
        phi = np.empty_like(self.distances)
        for value, member in self.regions.items():
            phi[member] = self.maximum(value) - self.distances[member]
        return phi


def full_volumes(labels: NDArray[Any], spacing: Spacing, classes: tuple[int, ...] | None = None) -> Reference:
    """K + 1 transforms of the whole volume: the definition, word by word."""
    distances = np.zeros(labels.shape)
    regions = dict(_regions(labels, classes))
    for member in regions.values():
        distances[member] = ndimage.distance_transform_edt(member, sampling=spacing)[member]
    return Reference(distances, regions)


def crops(labels: NDArray[Any], spacing: Spacing, classes: tuple[int, ...] | None = None) -> Reference:
    """The same, each region in its bounding box and a voxel around: where `full_volumes` takes too long."""
    distances = np.zeros(labels.shape)
    regions = dict(_regions(labels, classes))
    for member in regions.values():
        (box,) = ndimage.find_objects(member.view(np.uint8))
        wide = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in box)
        transformed = ndimage.distance_transform_edt(member[wide], sampling=spacing)
        distances[wide][member[wide]] = transformed[member[wide]]
    return Reference(distances, regions)


def _regions(
    labels: NDArray[Any], classes: tuple[int, ...] | None
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    chosen = [int(value) for value in np.unique(labels) if value] if classes is None else classes
    background = ~np.isin(labels, chosen)
    for value, member in [(0, background), *((value, labels == value) for value in chosen)]:
        if member.any():
            yield value, member


def ellipsoids(shape: tuple[int, int, int], labels: int, seed: int = 0) -> NDArray[np.uint8]:
    """A volume of solid, touching, overlapping bodies, some of which leave the volume."""
    rng = np.random.default_rng(seed)
    grid = np.indices(shape)
    volume = np.zeros(shape, np.uint8)
    for label in range(1, labels + 1):
        centre = rng.uniform(0, 1, 3) * shape
        radii = rng.uniform(0.15, 0.4, 3) * shape + 0.5
        inside = sum(((grid[axis] - centre[axis]) / radii[axis]) ** 2 for axis in range(3)) < 1
        volume[inside] = label
    return volume


@st.composite
def label_volumes(draw: st.DrawFn) -> NDArray[np.uint16]:
    """Blocks or noise of up to 300 labels and background, axes of size 1 included."""
    shape = draw(st.tuples(*[st.integers(1, 14)] * 3))
    block = draw(st.tuples(*[st.sampled_from([1, 1, 2, 5])] * 3))
    labels = draw(st.sampled_from([1, 2, 3, 10, 300]))
    background = draw(st.sampled_from([0.0, 0.3, 0.9]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    coarse = tuple(-(-side // size) for side, size in zip(shape, block, strict=True))
    volume = rng.integers(1, labels + 1, coarse, dtype=np.uint16)
    volume[rng.random(coarse) < background] = 0
    for axis, size in enumerate(block):
        volume = volume.repeat(size, axis)
    return np.ascontiguousarray(volume[: shape[0], : shape[1], : shape[2]])


spacings: st.SearchStrategy[Spacing] = st.one_of(
    st.just(VOXEL), st.tuples(*[st.floats(0.1, 8.0, allow_nan=False)] * 3)
)
