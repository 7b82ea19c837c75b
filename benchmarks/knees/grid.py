"""The benchmark's field of view, its grids, and smooth random fields on them.

Every subject has the same field of view, so that a shape alone says what the voxels are; (z, y, x), mm. What
is drawn on the grids is not decided here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float32]
Shape = tuple[int, int, int]
Spacing = tuple[float, float, float]

FIELD = (112.0, 140.0, 140.0)  # mm along z, y, x: demo.phantom's
FINER = 2  # voxels are rendered by so many points an axis and averaged: partial volume
_CONTROL: Shape = (48, 96, 96)  # where smooth fields are made, whatever the grid: a seed is one knee on all


def finer(shape: Shape) -> Shape:
    """The grid that a volume of `shape` is rendered on."""
    z, y, x = (FINER * size for size in shape)
    return z, y, x


def spacing(shape: Sequence[int]) -> Spacing:
    """Sides of a voxel in mm."""
    z, y, x = (length / size for length, size in zip(FIELD, shape, strict=True))
    return z, y, x


def averaged(fine: Array) -> Array:
    """The mean over each block of FINER³ points, (..., z, y, x)."""
    z, y, x = (size // FINER for size in fine.shape[-3:])
    blocks = fine.reshape(*fine.shape[:-3], z, FINER, y, FINER, x, FINER)
    mean: Array = blocks.mean(axis=(-5, -3, -1), dtype=np.float32)
    return mean


def control_noise(scale: float | Spacing, random: np.random.Generator) -> Array:
    """White noise smoothed by a Gaussian of `scale` mm, of mean 0 and deviation 1, on the control grid."""
    scales = (scale,) * 3 if isinstance(scale, int | float) else scale
    sigma = [mm / side for mm, side in zip(scales, spacing(_CONTROL), strict=True)]
    field = ndimage.gaussian_filter(random.standard_normal(_CONTROL, dtype=np.float32), sigma, mode="reflect")
    field -= field.mean()
    field /= field.std()
    return field


def smooth_noise(scale: float | Spacing, shape: Sequence[int], random: np.random.Generator) -> Array:
    """The same on a grid of `shape`: the same field on every grid."""
    return resized(control_noise(scale, random), shape)


def resized(field: Array, shape: Sequence[int]) -> Array:
    """A field of the whole field of view on another grid, linearly."""
    factors = [new / old for new, old in zip(shape, field.shape, strict=True)]
    zoomed: Array = ndimage.zoom(field, factors, order=1, mode="nearest", grid_mode=True)
    return zoomed
