"""A small case for the adaptors' tests: two ovoids well inside the volume, so that no turn cuts them off."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dmapsvc.loader.batch import IGNORE_INDEX
from dmapsvc.maps import quantised_map
from dmapsvc.spec import MapSpec, Spacing, Units
from dmapsvc.store import Dataset

SPACING: Spacing = (1.5, 0.5, 0.5)
AFFINE = np.array([[-0.5, 0, 0, 11], [0, 0, -1.5, 7], [0, 0.5, 0, -3], [0, 0, 0, 1]])  # i, j, k to L, S, P
_SHAPE = (40, 46, 52)


@cache
def ovoids() -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    """Labels 5 and 7, which touch, and a noisy image of them, (z, y, x)."""
    z, y, x = np.indices(_SHAPE)
    labels = np.zeros(_SHAPE, np.uint8)
    labels[((z - 20) / 9) ** 2 + ((y - 22) / 11) ** 2 + ((x - 20) / 8) ** 2 < 1] = 5
    labels[((z - 19) / 7) ** 2 + ((y - 25) / 8) ** 2 + ((x - 33) / 7) ** 2 < 1] = 7
    image = labels * 30 + np.random.default_rng(0).normal(200, 20, _SHAPE)
    return labels, image.astype(np.int16)


def publish_ovoids(folder: Path, units: Units) -> Path:
    """A dataset of one case, `a`."""
    labels, image = ovoids()
    dataset = Dataset.create(folder / "ovoids.zarr", MapSpec(labels=(5, 7), units=units))
    dataset.publish(
        "a",
        label=labels,
        phi=quantised_map(labels, SPACING, dataset.spec, backend="scipy"),
        spacing=SPACING,
        affine=AFFINE,
        mask_sha256="0" * 64,
    )
    dataset.publish_image("a", image, spacing=SPACING, affine=AFFINE, sha256="1" * 64)
    return dataset.path


def rim_and_interior(
    label: NDArray[Any], phi: NDArray[Any], maxima: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Errors of D in the background, up to two voxels from padding and farther from it.

    Beside D measured on the label map as it is now: the ovoids lie within, so that the rim is no boundary.
    """
    real = label != IGNORE_INDEX
    errors = np.abs(maxima[0] - phi - distances(np.where(real, label, 0)))
    depth = ndimage.distance_transform_edt(np.pad(real, 1))[1:-1, 1:-1, 1:-1]
    background = label == 0
    return errors[background & (depth <= 2)], errors[background & (depth > 2)]


def distances(regions: NDArray[Any], spacing: Sequence[float] = (1.0, 1.0, 1.0)) -> NDArray[np.float64]:
    """D by SciPy, one region at a time."""
    measured = np.zeros(regions.shape)
    for value in np.unique(regions):
        inside = regions == value
        measured[inside] = ndimage.distance_transform_edt(inside, sampling=spacing)[inside]
    return measured
