"""Smooth random deformations that fold nothing: a subject is an anatomy that one of them bent.

A velocity field is integrated by scaling and squaring (Arsigny et al. 2006, "A Log-Euclidean Framework for
Statistics on Diffeomorphisms"), and the result is checked voxel by voxel.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from benchmarks.knees.grid import Array, control_noise, resized, spacing

# Deviation in mm of the velocity along each axis, and over how many mm it changes: size and place of parts of
# the knee, the shape of a condyle, the relief of a surface.
_WAVES = ((3.0, 24.0), (1.4, 10.0), (0.9, 4.5))
_SQUARINGS = 5  # 2⁵ steps, each shorter than a voxel
_LEAST_VOLUME = 0.1  # of what it was, that a voxel may keep


def deformation(random: np.random.Generator) -> Array:
    """A random displacement (3, z, y, x) in mm on the control grid, which folds nothing."""
    waves = [mm * np.stack([control_noise(scale, random) for _ in range(3)]) for mm, scale in _WAVES]
    return unfolded(np.sum(waves, axis=0, dtype=np.float32))


def unfolded(velocity: Array) -> Array:
    """The displacement (3, z, y, x) that a velocity, in mm a unit of time, leads to in one: where to look.

    What is at x then came from x + displacement(x). The velocity is halved until no voxel folds, or loses
    more than nine tenths of its volume.
    """
    displacement = _integrated(velocity)
    while least_volume(displacement) < _LEAST_VOLUME:
        velocity = velocity / np.float32(2)
        displacement = _integrated(velocity)
    return displacement


def least_volume(displacement: Array) -> float:
    """The least determinant of the Jacobian of x + displacement(x), by central differences; > 0: no fold."""
    sides = spacing(displacement.shape[1:])
    rows = [np.stack(np.gradient(part, *sides)) for part in displacement]
    jacobian = np.stack(rows) + np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1, 1)
    return float(np.linalg.det(np.moveaxis(jacobian, (0, 1), (-2, -1))).min())


def moved(fields: Array, displacement: Array) -> Array:
    """Fields (n, z, y, x) of the whole field of view, each taken where `displacement` says, linearly."""
    shape = fields.shape[1:]
    points = _points(np.stack([resized(part, shape) for part in displacement]))
    return np.stack([ndimage.map_coordinates(field, points, order=1, mode="nearest") for field in fields])


def _integrated(velocity: Array) -> Array:
    """The displacement after following a steady velocity for a unit of time."""
    displacement = velocity / np.float32(2**_SQUARINGS)
    for _ in range(_SQUARINGS):
        points = _points(displacement)
        displacement = displacement + np.stack(
            [ndimage.map_coordinates(part, points, order=1, mode="nearest") for part in displacement]
        )
    return displacement


def _points(displacement: Array) -> Array:
    """Where to look, in voxels (3, z, y, x)."""
    shape = displacement.shape[1:]
    points: Array = displacement / np.array(spacing(shape), np.float32).reshape(3, 1, 1, 1)
    points += np.indices(shape, np.float32)
    return points
