"""A label map's surface seen from outside: an orthographic depth rendering in NumPy and SciPy.

A ray a pixel goes through the smoothed masks until they reach one half; where that is and how bright it looks
is all that is computed. What the surface is coloured with is the caller's affair.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dmapsvc.spec import Spacing

Floats = NDArray[np.float64]
Direction = tuple[float, float, float]

_PIXELS = 260  # along the longer side of a picture
_STEP = 2  # pixels between two samples of a ray; the surface lies between two by interpolation
_SMOOTH = 0.8  # voxels, standard deviation: takes the steps off, leaves the shape
_LIGHT = np.array((0.75, 0.5, -0.43))  # towards the light: against the ray, upwards, to the left
_AROUND = 1  # voxel of nothing around the volume: what its edge cuts ends there, and a slice is thick
_AMBIENT = 0.42
_ANATOMICAL: tuple[tuple[str, Direction, Direction], ...] = (  # towards and to the right, in RAS
    ("front", (0, -1, 0), (-1, 0, 0)),
    ("right", (-1, 0, 0), (0, 1, 0)),
    ("back", (0, 1, 0), (1, 0, 0)),
)


@dataclass(frozen=True, kw_only=True)
class Side:
    """Where one looks from: `towards` along the rays, `up` and to the `right`, each a direction (z, y, x)."""

    name: str
    towards: Direction
    up: Direction
    right: Direction


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is seen from one side, by pixel, (rows, columns) with rows downwards.

    `seen`: whether a surface is; `shade`: how bright it looks, 0 to 1; `points`: (pixels seen, 3), where it
    is, in voxels (z, y, x), in the order of `seen`.
    """

    name: str
    seen: NDArray[np.bool_]
    shade: Floats
    points: Floats


def sides(affine: NDArray[np.floating[Any]] | None) -> list[Side]:
    """Front, right side and back, superior up, of a volume with `affine`, (i, j, k, 1) to RAS+ mm.

    Without one there is no telling: along the array's y and x axes, the first slice up.
    """
    if affine is None:
        up = (-1, 0, 0)
        return [
            Side(name="along y", towards=(0, 1, 0), up=up, right=(0, 0, 1)),
            Side(name="along x", towards=(0, 0, 1), up=up, right=(0, -1, 0)),
            Side(name="against y", towards=(0, -1, 0), up=up, right=(0, 0, -1)),
        ]
    columns = np.asarray(affine, dtype=np.float64)[:3, :3]
    axes = (columns / np.linalg.norm(columns, axis=0)).T[::-1]  # of z, y, x: each a direction in RAS

    def in_array(direction: Direction) -> Direction:
        z, y, x = (axes @ np.array(direction)).tolist()
        return z, y, x

    return [
        Side(name=name, towards=in_array(towards), up=in_array((0, 0, 1)), right=in_array(right))
        for name, towards, right in _ANATOMICAL
    ]


def look(labels: NDArray[Any], values: tuple[int, ...], spacing: Spacing, side: Side) -> Look:
    """The surface of the labels `values` of `labels` (z, y, x), voxels of `spacing` mm, from one side."""
    field = _field(labels, values)
    frame = _frame(side)
    steps, low, pixel = _grid(field, spacing, frame)
    to_voxels = frame.T / np.array(spacing)[:, None]
    scale = np.array((_STEP * pixel, pixel, pixel))
    rays = ndimage.affine_transform(
        field, to_voxels * scale, to_voxels @ low, output_shape=steps, order=1, output=np.float32
    )
    seen, depth = _first(rays)
    rows, columns = np.nonzero(seen)
    places = np.stack([depth[seen], rows, columns]) * scale[:, None] + low[:, None]
    points = (to_voxels @ places).T
    shade = np.zeros(seen.shape)
    shade[seen] = _shade(field, points, spacing, frame)
    return Look(name=side.name, seen=seen, shade=shade, points=points - _AROUND)


def _field(labels: NDArray[Any], values: tuple[int, ...]) -> NDArray[np.float32]:
    """How much of each place is inside: each mask smoothed by itself, so that neighbours do not melt.

    (z, y, x) with _AROUND more on every side.
    What is highest in a mask is 1, or smoothing would hide a label of a few voxels.
    """
    field = np.zeros(labels.shape, dtype=np.float32)
    for value in values:
        smooth = ndimage.gaussian_filter((labels == value).astype(np.float32), _SMOOTH, mode="nearest")
        smooth /= smooth.max() or 1.0
        np.maximum(field, smooth, out=field)
    return np.pad(field, _AROUND)


def _grid(
    field: NDArray[np.float32], spacing: Spacing, frame: Floats
) -> tuple[tuple[int, int, int], Floats, float]:
    """Samples (depth, rows, columns), the first one's place in the frame (mm), and a pixel's side (mm)."""
    inside = np.argwhere(field > 0.25)
    places = (inside * np.array(spacing)) @ frame.T if len(inside) else np.zeros((1, 3))
    low, high = places.min(axis=0) - 2 * max(spacing), places.max(axis=0) + 2 * max(spacing)
    pixel = float((high - low)[1:].max() / _PIXELS)
    depth, rows, columns = np.ceil((high - low) / (pixel * np.array((_STEP, 1, 1)))).astype(int).tolist()
    return (depth + 1, rows + 1, columns + 1), low, pixel


def _first(rays: NDArray[np.float32]) -> tuple[NDArray[np.bool_], Floats]:
    """Where along the first axis a value first reaches one half, between samples, and whether it does."""
    inside = rays >= 0.5
    first = inside.argmax(axis=0)
    here = np.take_along_axis(rays, first[None], axis=0)[0]
    before = np.take_along_axis(rays, np.maximum(first - 1, 0)[None], axis=0)[0]
    back = np.where(first > 0, (here - 0.5) / np.maximum(here - before, 1e-6), 0.0)
    return np.asarray(inside.any(axis=0)), np.asarray(first - back, dtype=np.float64)


def _shade(field: NDArray[np.float32], points: Floats, spacing: Spacing, frame: Floats) -> Floats:
    """Lambert's shading, from the gradient of the field, smoothed once more."""
    smooth = ndimage.gaussian_filter(field, _SMOOTH, mode="nearest")
    slopes = [np.gradient(smooth, length, axis=axis) for axis, length in enumerate(spacing)]
    outward = -np.stack(
        [ndimage.map_coordinates(slope, points.T, order=1, mode="nearest") for slope in slopes]
    )
    outward /= np.maximum(np.linalg.norm(outward, axis=0), 1e-9)
    against, down, right = frame @ outward
    facing = _LIGHT @ np.stack([-against, -down, right]) / np.linalg.norm(_LIGHT)
    return np.asarray(_AMBIENT + (1 - _AMBIENT) * np.clip(facing, 0, 1))


def _frame(side: Side) -> Floats:
    """Directions of depth, rows and columns, each (z, y, x), made square by Gram and Schmidt."""
    square: list[Floats] = []
    for direction in (side.towards, [-part for part in side.up], side.right):
        rest = np.array(direction, dtype=np.float64)
        rest = rest - sum(((rest @ other) * other for other in square), np.zeros(3))
        square.append(rest / np.linalg.norm(rest))
    return np.stack(square)
