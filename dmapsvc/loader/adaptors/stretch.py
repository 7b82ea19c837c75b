"""By how much distances grow when a volume is resampled onto another grid.

The spatial transforms of other libraries move voxels and leave values alone; D is a length and has to follow.
Nothing is resampled here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmapsvc.errors import BadInput
from dmapsvc.spec import Units

MOST_UNEVEN = 1.05  # lengths along two axes, one over the other: zooming to whole voxels is uneven by as much

Matrix = NDArray[np.float64]

_REMEDY: dict[Units, str] = {
    "voxel": "Zoom all axes alike, and turn only in the plane whose two spacings are equal",
    "mm": "Zoom all axes alike, and turn in a plane of equal spacing or in world coordinates",
}


def stretch(old: NDArray[Any], new: NDArray[Any], units: Units, moved: NDArray[Any] | None = None) -> float:
    """The factor of D on the new grid.

    `old`, `new`: the affines, (i, j, k, 1) to mm. `moved`, (3, 3): the world's way from where a voxel is now
    to where it was, for a transform that moves the content and not the affine; the identity if left out.

    A length in voxels is one of the array's own steps, whatever they are in mm. A length in mm is one by the
    affine. Either way D can follow only where all directions stretch alike: raises BadInput if they differ by
    more than `MOST_UNEVEN`.
    """
    steps = _linear(new)  # one step along each axis, in columns
    steps_then = steps if moved is None else moved @ steps
    was = np.linalg.solve(_linear(old), steps_then) if units == "voxel" else steps_then / _lengths(steps)
    factors = np.linalg.svd(was, compute_uv=False)
    if factors[0] > MOST_UNEVEN * factors[-1]:
        raise BadInput(
            f"distances in {units} stretch by {1 / factors[0]:.2f} in one direction and by "
            f"{1 / factors[-1]:.2f} in another",
            "a distance map can only follow rotations, flips and zooms that are the same along every axis"
            + (" in voxels" if units == "voxel" else " in mm"),
            _REMEDY[units],
        )
    return float(1 / np.cbrt(factors.prod()))


def _linear(affine: NDArray[Any]) -> Matrix:
    return np.asarray(affine, dtype=np.float64)[:3, :3]


def _lengths(steps: Matrix) -> Matrix:
    lengths: Matrix = np.sqrt(np.square(steps).sum(axis=0))
    return lengths
