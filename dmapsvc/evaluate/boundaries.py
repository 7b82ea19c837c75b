"""The voxels that make a mask's boundary, and B-DSC, the overlap of two boundaries, strict or relaxed.

All of it counts voxels, whatever their spacing; the surface in mm is in `surfaces`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dmapsvc.errors import BadInput
from dmapsvc.evaluate.masks import Mask, Room, cropped
from dmapsvc.evaluate.overlap import coefficient


def boundary(mask: Mask) -> Mask:
    """The mask's own voxels that touch the background with a face: its 6-connected inner boundary.

    What lies outside the volume counts as background, so a mask that is cut off by the volume's edge has a
    boundary there (SciPy's `binary_erosion` and MONAI agree; Φ does otherwise). `mask` is bool (z, y, x).
    """
    inner = mask.copy()
    for axis in range(mask.ndim):
        voxels, found = np.moveaxis(mask, axis, 0), np.moveaxis(inner, axis, 0)
        found[1:] &= voxels[:-1]
        found[:-1] &= voxels[1:]
        found[:1] = found[-1:] = False
    return mask & ~inner


def boundary_dice(truth: Mask, prediction: Mask, tolerance: int = 0) -> float:
    """Dice of the two boundaries, each first dilated by a Euclidean ball of `tolerance` voxels.

    The paper's B-DSC, and its relaxed B-DSC from 1 on (Calivá et al. 2019). Balls are cut at the
    edge of the volume. From 0 to 1; both empty: 1, one empty: 0. Raises BadInput, GridMismatch.
    """
    if tolerance < 0:
        raise BadInput(f"the tolerance is {tolerance}", "it is a number of voxels, 0 or more")
    pair = cropped(truth, prediction)
    return relaxed_dice(boundary(pair.truth), boundary(pair.prediction), pair.room, (tolerance,))[0]


def relaxed_dice(truth: Mask, prediction: Mask, room: Room, tolerances: Sequence[int]) -> list[float]:
    """Dice of two boundaries for each tolerance; `room` is how far the volume goes on around them."""
    reach = max(tolerances)
    around = [(min(before, reach), min(behind, reach)) for before, behind in room]
    first, second = (squared_distances(np.pad(mask, around), reach) for mask in (truth, prediction))
    return [coefficient(first <= radius**2, second <= radius**2) for radius in tolerances]


def squared_distances(mask: Mask, reach: int) -> NDArray[np.unsignedinteger]:
    """Squared distance in voxels to the nearest voxel of the mask; `reach`² + 1 where it is farther.

    The minimum over x' of (x − x')² + d(x')², an axis after the other (Felzenszwalb and Huttenlocher 2012),
    is looked for among the `reach` neighbours to each side: for the few voxels of a tolerance
    that is far quicker than a distance transform.
    """
    beyond = reach**2 + 1
    kind = np.min_scalar_type(beyond + reach**2)
    squared: NDArray[np.unsignedinteger] = np.where(mask, 0, beyond).astype(kind)
    for plane in squared:  # a plane at a time stays in the processor's cache
        _spread(plane, reach)
        _spread(plane.T, reach)
    for plane in squared.swapaxes(0, 1):
        _spread(plane, reach)
    return squared


def _spread(plane: NDArray[np.unsignedinteger], reach: int) -> None:
    """The minimum along the first axis, in place."""
    before = plane.copy()
    for step in range(1, min(reach, len(plane) - 1) + 1):
        farther = before + plane.dtype.type(step**2)
        np.minimum(plane[step:], farther[:-step], out=plane[step:])
        np.minimum(plane[:-step], farther[step:], out=plane[:-step])
