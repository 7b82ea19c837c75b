"""What is mended of a predicted label map afterwards: gaps closed, and all but the largest pieces removed.

Calivá et al. 2019 close their predictions and keep the three largest components, one a bone. Both are off
unless asked for, since they are no part of what a network learnt.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dmapsvc.errors import BadInput
from dmapsvc.evaluate.boundaries import squared_distances

Label = TypeVar("Label", np.int16, np.uint16, np.uint8)
"""Class indices, or the values of a label map that take at most 16 bits; 0 is the background."""

_TOUCHING = np.ones((3, 3, 3), bool)  # 26 neighbours, as MATLAB's bwconncomp counts in a volume


def clean(labels: NDArray[Label], *, closing: int = 0, components: int = 0) -> NDArray[Label]:
    """`labels`, (z, y, x), closed and then without small components, in a new array of its type.

    `closing`: radius in voxels, as for `close`; `components`: how many are kept, as for
    `keep_largest`; 0 leaves the step out. Raises BadInput for a number below 0.
    """
    check_cleaning(closing=closing, components=components)
    cleaned = close(labels, closing) if closing else labels.copy()
    return keep_largest(cleaned, components) if components else cleaned


def check_cleaning(*, closing: int, components: int) -> None:
    """Raises BadInput for a number below 0."""
    for name, number in (("closing", closing), ("components", components)):
        if number < 0:
            raise BadInput(f"{name} {number}", "wanted at least 0", "0 leaves it out")


def close(labels: NDArray[Label], radius: int) -> NDArray[Label]:
    """Each label closed by a Euclidean ball of `radius` voxels: gaps and notches narrower than it are filled.

    Only background is filled: no label takes a voxel of another one. What two labels would fill goes to the
    smaller value. Beyond the volume's edge a label goes on as it is there.
    """
    closed = labels.copy()
    for value, box in _boxes(labels):
        outer = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)
        gained = _closed(labels[outer] == value, radius) & (closed[outer] == 0)  # never outside its box
        closed[outer][gained] = value
    return closed


def keep_largest(labels: NDArray[Label], count: int) -> NDArray[Label]:
    """The `count` largest components of all labels together; the others become background.

    A component is voxels of one label that touch, be it at a corner. Of components alike in size, that of the
    smaller label, then the one that comes first in the array, counts as the larger.
    """
    found = [
        (-int(size), value, number, box)
        for value, box in _boxes(labels)
        for number, size in enumerate(_sizes(labels[box] == value))
    ]
    kept = np.zeros_like(labels)
    for _, value, number, box in sorted(found, key=lambda piece: piece[:3])[:count]:
        numbered, _ = ndimage.label(labels[box] == value, _TOUCHING)
        kept[box][numbered == number + 1] = value
    return kept


def _closed(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Dilated by the ball, then eroded by it; outside, everything is as at the edge."""
    grown = squared_distances(np.pad(mask, 2 * radius, mode="edge"), radius) <= radius**2
    closed = squared_distances(~grown, radius) > radius**2
    return closed[tuple(slice(2 * radius, -2 * radius) for _ in mask.shape)]


def _sizes(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    numbered, _ = ndimage.label(mask, _TOUCHING)
    return np.bincount(numbered.ravel())[1:]


def _boxes(labels: NDArray[Label]) -> list[tuple[int, tuple[slice, ...]]]:
    """Each label that is there but the background's 0, ascending, and the box that it fills."""
    boxes = ndimage.find_objects(labels)
    return [(value, box) for value, box in enumerate(boxes, 1) if box is not None]
