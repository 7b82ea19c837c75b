"""Two masks of one class on one grid: what a metric checks before it starts, and the box that it looks at.

Nothing is measured here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmapsvc.errors import BadInput, GridMismatch
from dmapsvc.spec import Spacing

Mask = NDArray[np.bool_]
Box = tuple[slice, slice, slice]
Room = tuple[tuple[int, int], ...]

VOXEL: Spacing = (1.0, 1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Truth and prediction in the bounding box of both, bool (z, y, x).

    `room` is how many voxels of the volume lie before and behind the box along each axis. Outside the box
    both are background. Where both are empty the box is the whole volume.
    """

    truth: Mask
    prediction: Mask
    room: Room


def cropped(truth: Mask, prediction: Mask) -> Pair:
    """The two in the bounding box of their union. Raises what `check_pair` raises."""
    check_pair(truth, prediction)
    box = _bounding_box(truth | prediction)
    room = tuple((side.start, size - side.stop) for side, size in zip(box, truth.shape, strict=True))
    return Pair(truth=truth[box], prediction=prediction[box], room=room)


def check_pair(truth: Mask, prediction: Mask) -> None:
    """Raises BadInput for what is not bool (z, y, x), GridMismatch for two shapes."""
    for name, mask in (("truth", truth), ("prediction", prediction)):
        if mask.dtype != np.bool_ or mask.ndim != 3:
            raise BadInput(
                f"the {name} is {mask.dtype} with {mask.ndim} axes",
                "a metric compares bool masks (z, y, x) of one class",
                "Take one value of a label map: labels == value",
            )
    if truth.shape != prediction.shape:
        raise GridMismatch(
            f"the truth has {truth.shape} voxels, the prediction {prediction.shape}",
            "both must lie on one grid",
            "Resample the prediction to the truth's grid, nearest",
        )


def checked_spacing(spacing: Spacing | None) -> Spacing:
    """(z, y, x) in mm; a voxel's side each where there is none. Raises BadInput for what is no length."""
    if spacing is None:
        return VOXEL
    if len(spacing) != 3 or not all(math.isfinite(side) and side > 0 for side in spacing):
        raise BadInput(f"the spacing is {tuple(spacing)}", "it is three lengths in mm, (z, y, x)")
    return spacing


def checked_tolerance(tolerance: float) -> float:
    """The tolerance. Raises BadInput for one that is negative or not finite."""
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise BadInput(f"the tolerance is {tolerance}", "it is a length of 0 or more")
    return tolerance


def diagonal(shape: tuple[int, ...], spacing: Spacing) -> float:
    """The largest distance between two voxel centres of a volume: corner to corner."""
    return math.hypot(*((size - 1) * side for size, side in zip(shape, spacing, strict=True)))


def _bounding_box(mask: Mask) -> Box:
    """Of the voxels that are set, an axis at a time, so that the later ones look at less."""
    z = _extent(mask.any(axis=(1, 2)))
    y = _extent(mask[z].any(axis=(0, 2)))
    x = _extent(mask[z, y].any(axis=(0, 1)))
    return z, y, x


def _extent(occupied: ArrayLike) -> slice:
    line = np.asarray(occupied)
    found = np.flatnonzero(line)
    return slice(int(found[0]), int(found[-1]) + 1) if found.size else slice(0, line.size)
