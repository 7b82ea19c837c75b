"""Knee-like volumes for the demo, the benchmarks and tests: three bones, and MR-like images drawn from label
maps.

Made from formulas and a seed; they look like a knee at a glance and are of no medical meaning.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float32]

FEMUR, TIBIA, PATELLA = 1, 2, 3
NAMES = {FEMUR: "femur", TIBIA: "tibia", PATELLA: "patella"}

_FIELD = (112.0, 140.0, 140.0)  # mm: z right to left, y superior to inferior, x anterior to posterior
_COARSE = 72  # points an axis at most on which shapes are evaluated; smooth, so the rest is interpolated
_SMOOTH = 2.5  # mm over which the parts of a bone melt into each other
_TILT = np.deg2rad((4.0, -6.0, 3.0))  # scanners plan knees oblique
# Parts of each bone: centre and half axes (z, y, x) in mm from the middle of the joint, +y down, +x to the
# back.
_BONES: dict[int, tuple[tuple[tuple[float, float, float], tuple[float, float, float]], ...]] = {
    FEMUR: (
        ((0.0, -70.0, -4.0), (13.5, 52.0, 13.5)),
        ((0.0, -25.0, 0.0), (32.0, 16.0, 19.0)),
        ((-19.0, -16.0, 8.0), (14.5, 19.0, 25.0)),
        ((19.0, -16.0, 8.0), (13.5, 18.0, 24.0)),
    ),
    TIBIA: (
        ((0.0, 19.0, 6.0), (37.0, 12.0, 25.0)),
        ((0.0, 30.0, 4.0), (25.0, 22.0, 18.0)),
        ((0.0, 76.0, 2.0), (13.0, 52.0, 13.5)),
    ),
    PATELLA: (((0.0, -24.0, -36.0), (19.0, 20.0, 9.5)),),
}


def knee(
    seed: int, shape: tuple[int, int, int] = (160, 384, 384)
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A label map (z, y, x) of three bones and its oblique affine, (i, j, k, 1) to RAS+ mm.

    The field of view is always the same, so `shape` sets the spacing: (0.7, 0.36, 0.36) mm by default. Each
    seed is another anatomy: sizes and places vary, and a smooth field bends everything.
    """
    rng = np.random.default_rng(seed)
    coarse = tuple(min(size, _COARSE) for size in shape)
    points = _bent(_grid(coarse), rng)
    fields = [_bone(parts, points, rng) for parts in _BONES.values()]
    fine = np.stack([_resized(field, shape) for field in fields])
    nearest = np.argmin(fine, axis=0)
    inside = np.take_along_axis(fine, nearest[None], axis=0)[0] < 0
    return np.where(inside, nearest + 1, 0).astype(np.uint8), _affine(shape, rng)


def render(labels: NDArray[Any], seed: int) -> NDArray[np.int16]:
    """An MR-like image of any label map: cortex, fat and muscle around, a bias field, Rician noise."""
    rng = np.random.default_rng(seed)
    shape = labels.shape
    body = _resized(ndimage.gaussian_filter(_shrunk(labels > 0), 7.0), shape)
    inside = ndimage.gaussian_filter((labels > 0).astype(np.float32), 1.2)
    grain = _texture(shape, 90, rng)
    muscle = 330 + 70 * grain
    image = np.where(body > 0.035, muscle, 620.0)  # subcutaneous fat outside the muscle
    image[body < 0.006] = 12.0  # air
    image += 260 * ((inside > 0.04) & (inside < 0.4))  # cartilage and fluid hug the bone
    image = np.where(labels > 0, _tissue(labels) + 22 * grain, image)
    image[(inside > 0.4) & (inside < 0.62)] = 95.0  # cortex
    image = ndimage.gaussian_filter(image.astype(np.float32), 0.7)
    image *= 1 + 0.22 * _texture(shape, 3, rng)
    real, imaginary = (16 * rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
    return np.hypot(image + real, imaginary).astype(np.int16)


def write(path: Path, array: NDArray[Any], affine: NDArray[np.float64]) -> None:
    """Write a (z, y, x) array as NIfTI."""
    nib.save(nib.Nifti1Image(array.transpose(2, 1, 0), affine), path)


def _grid(shape: tuple[int, ...]) -> Array:
    """Voxel centres (3, z, y, x) in mm from the middle."""
    axes = [((np.arange(n) + 0.5) / n - 0.5) * mm for n, mm in zip(shape, _FIELD, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)


def _bent(points: Array, rng: np.random.Generator) -> Array:
    """Points moved by a smooth field of a few mm, after a small turn of the whole knee."""
    bend = np.stack([4.0 * ndimage.gaussian_filter(_texture(points.shape[1:], 5, rng), 4) for _ in range(3)])
    angle = rng.normal(0, 0.05)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    moved: Array = np.einsum("ab,b...->a...", turn, points) + bend + rng.normal(0, 1.5, (3, 1, 1, 1))
    return moved


def _bone(
    parts: tuple[tuple[tuple[float, float, float], tuple[float, float, float]], ...],
    points: Array,
    rng: np.random.Generator,
) -> Array:
    """About the distance in mm to the bone, negative inside: a smooth union of ellipsoids."""
    near = np.zeros(points.shape[1:], dtype=np.float32)
    for centre, half in parts:
        size = np.array(half) * rng.normal(1, 0.04)
        offset = points - np.array(centre).reshape(3, 1, 1, 1)
        radius = np.sqrt(sum((offset[a] / size[a]) ** 2 for a in range(3)))
        near += np.exp(np.clip(-(radius - 1) * size.min() / _SMOOTH, -60, 60))
    field: Array = -_SMOOTH * np.log(near + 1e-12)
    return field


def _texture(shape: tuple[int, ...], detail: int, rng: np.random.Generator) -> Array:
    """Smooth noise of about unit size, `detail` bumps an axis."""
    return _resized(rng.normal(0, 1, [min(n, detail) for n in shape]).astype(np.float32), shape)


def _tissue(labels: NDArray[Any]) -> Array:
    """Grey value by label: bone marrow is much the same everywhere, other values differ a little."""
    return (205 + 18 * (labels.astype(np.int64) % 5)).astype(np.float32)


def _shrunk(mask: NDArray[np.bool_]) -> Array:
    return _resized(mask.astype(np.float32), tuple(min(n, _COARSE) for n in mask.shape))


def _resized(field: Array, shape: tuple[int, ...]) -> Array:
    factors = [new / old for new, old in zip(shape, field.shape, strict=True)]
    return ndimage.zoom(field, factors, order=1, mode="nearest", grid_mode=True)


def _affine(shape: tuple[int, int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    z, y, x = (mm / n for mm, n in zip(_FIELD, shape, strict=True))
    axes = np.array([[0, 0, -1], [-1, 0, 0], [0, -1, 0]], dtype=float)  # i to the back, j down, k to the left
    affine = np.eye(4)
    affine[:3, :3] = _rotation(_TILT + rng.normal(0, 0.02, 3)) @ axes @ np.diag((x, y, z))
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape[::-1]) / 2)
    return affine


def _rotation(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = (other for other in range(3) if other != axis)
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix
