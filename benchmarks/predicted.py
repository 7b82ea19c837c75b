"""What a network might make of a label map: the same classes with noisy surfaces, by a seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

RECIPE = (
    "The prediction is the truth with each surface moved to and fro by a smooth random field, seed by label."
)

_EDGE = 4  # voxels of one value of the field
_WAVES = 1.2  # of those: how far the field is smooth
_SOFT = 1.5  # voxels over which the mask is softened, so that the field can move its surface
_STRENGTH = 0.15  # of the field's standard deviation, where the softened mask goes from 0 to 1


def noisy(mask: NDArray[np.bool_], seed: int) -> NDArray[np.bool_]:
    """The mask (z, y, x) with a surface that wavers by about a voxel; never far from its own."""
    rng = np.random.default_rng(seed)
    waves = ndimage.gaussian_filter(rng.standard_normal([-(-side // _EDGE) for side in mask.shape]), _WAVES)
    field = np.kron(np.clip(waves / waves.std(), -3, 3), np.ones((_EDGE,) * 3))
    softened = ndimage.gaussian_filter(mask.astype(np.float32), _SOFT)
    moved: NDArray[np.bool_] = softened + _STRENGTH * field[tuple(map(slice, mask.shape))] > 0.5
    return moved


def noisy_labels(labels: NDArray[Any], classes: Sequence[int]) -> NDArray[Any]:
    """The label map with `noisy` classes; where two meet, the later one wins."""
    predicted = np.zeros_like(labels)
    for label in classes:
        predicted[noisy(labels == label, label)] = label
    return predicted
