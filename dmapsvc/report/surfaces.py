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
_REACH = 4  # voxels that smoothing carries a mask at most: SciPy's filter ends after four deviations
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


class Surface:
    """The surface of the labels `values` of `labels` (z, y, x), voxels of `spacing` mm, to be looked at.

    What every look needs is made once, of the part of the volume that holds the labels.
    """

    def __init__(self, labels: NDArray[Any], values: tuple[int, ...], spacing: Spacing) -> None:
        self._spacing = spacing
        self._field, self._begin = _field(labels, values)
        self._smooth = ndimage.gaussian_filter(self._field, _SMOOTH, mode="nearest")  # once more, to shade

    def look(self, side: Side) -> Look:
        """What is seen of it from one side."""
        frame = _frame(side)
        steps, low, pixel = _grid(self._field, self._spacing, frame)
        to_voxels = frame.T / np.array(self._spacing)[:, None]
        scale = np.array((_STEP * pixel, pixel, pixel))
        rays = ndimage.affine_transform(
            self._field, to_voxels * scale, to_voxels @ low, output_shape=steps, order=1, output=np.float32
        )
        seen, depth = _first(rays)
        rows, columns = np.nonzero(seen)
        places = np.stack([depth[seen], rows, columns]) * scale[:, None] + low[:, None]
        points = (to_voxels @ places).T
        shade = np.zeros(seen.shape)
        shade[seen] = self._shade(points, frame)
        return Look(name=side.name, seen=seen, shade=shade, points=points + self._begin)

    def _shade(self, points: Floats, frame: Floats) -> Floats:
        """Lambert's shading of `points`, in voxels of the field, from its gradient."""
        outward = -np.stack([self._slope(points, axis) for axis in range(3)])
        outward /= np.maximum(np.linalg.norm(outward, axis=0), 1e-9)
        against, down, right = frame @ outward
        facing = _LIGHT @ np.stack([-against, -down, right]) / np.linalg.norm(_LIGHT)
        return np.asarray(_AMBIENT + (1 - _AMBIENT) * np.clip(facing, 0, 1))

    def _slope(self, points: Floats, axis: int) -> Floats:
        """The smoothed field's central difference along `axis`, per mm."""
        step = np.eye(3)[axis]
        before, after = (
            ndimage.map_coordinates(self._smooth, (points + way * step).T, order=1, mode="nearest")
            for way in (-1, 1)
        )
        return np.asarray((after - before) / (2 * self._spacing[axis]), dtype=np.float64)


def _field(labels: NDArray[Any], values: tuple[int, ...]) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """How much of each place is inside, (z, y, x), and which voxel of `labels` its first one is.

    Each mask is smoothed by itself, so that neighbours do not melt, and what is highest in it is 1, or
    smoothing would hide a label of a few voxels. Of the volume there is what the labels fill and smoothing
    reaches, with _AROUND more on every side.
    """
    part = _filled(np.isin(labels, values))
    field = np.zeros(labels[part].shape, dtype=np.float32)
    for value in values:
        mask = labels[part] == value
        smooth = ndimage.gaussian_filter(mask.astype(np.float32), _SMOOTH, mode="nearest")
        smooth /= smooth.max() or 1.0
        np.maximum(field, smooth, out=field)
    return np.pad(field, _AROUND), np.array([side.start for side in part]) - _AROUND


def _filled(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The part of the volume that `mask` fills and smoothing reaches; all of it if it fills none."""
    filled = ndimage.find_objects(mask.view(np.uint8))
    if not filled:
        return tuple(slice(0, length) for length in mask.shape)
    return tuple(
        slice(max(side.start - _REACH, 0), min(side.stop + _REACH, length))
        for side, length in zip(filled[0], mask.shape, strict=True)
    )


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


def _frame(side: Side) -> Floats:
    """Directions of depth, rows and columns, each (z, y, x), made square by Gram and Schmidt."""
    square: list[Floats] = []
    for direction in (side.towards, [-part for part in side.up], side.right):
        rest = np.array(direction, dtype=np.float64)
        rest = rest - sum(((rest @ other) * other for other in square), np.zeros(3))
        square.append(rest / np.linalg.norm(rest))
    return np.stack(square)
