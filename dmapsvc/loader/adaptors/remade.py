"""The last step of the adaptors: Φ of what a library's spatial transforms left of label map and D."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dmapsvc.errors import BadInput
from dmapsvc.loader.augment import penalty_from_distance
from dmapsvc.loader.batch import IGNORE_INDEX
from dmapsvc.region import Scale

_WHOLE = 0.999  # what has come of a one from which no padding was mixed: rounding leaves more
_SLIP = 1 - _WHOLE
_MOST_MIXED = 0.5  # of the voxels of a patch without a whole one: it may touch but the rim of the volume
_ROUNDING = 0.05  # by which interpolated values of D may leave those they lie between
_REMEDY = "Leave 'distance' out of intensity transforms, and interpolate it linearly"


@dataclass(frozen=True, kw_only=True)
class Remade:
    """`label`: int64 (1, …), IGNORE_INDEX where padded; `phi`: float32 (1, …), 0 there; `maxima` and `means`:
    float32 (classes,), zoomed.
    """

    label: Tensor
    phi: Tensor
    maxima: Tensor
    means: Tensor


def remake_penalty(
    *,
    label: Tensor,
    distance: Tensor,
    maxima: Tensor,
    means: Tensor,
    smallest: float,
    stretch: float,
    scale: Scale,
) -> Remade:
    """Φ = M(label) − D, with D and the maxima multiplied by `stretch`, scaled last.

    `label`: class indices, of any type, (1, …). `distance`: float (2, …), D and the ones that went with it:
    where padding was mixed into D, less than one has come of them, and the voxel counts as padding. `maxima`,
    `means`, float32 (classes,), and `smallest`, the least D of a voxel, as they were read. All is made where
    `distance` lies. Raises BadInput for a `label` or a `distance` that is none.
    """
    check_arrays(label, distance)
    plain, ones = distance[:1], distance[1:]
    check_distance(plain, ones, maxima, smallest)
    classes = label.round().long().masked_fill(ones < _WHOLE, IGNORE_INDEX)
    maxima, means = (values.to(distance.device) * stretch for values in (maxima, means))
    phi = penalty_from_distance(plain * stretch, classes, maxima=maxima[None], means=means[None], scale=scale)
    return Remade(label=classes, phi=phi, maxima=maxima, means=means)


def check_arrays(label: Tensor, distance: Tensor) -> None:
    """Raises BadInput if they are not one channel and two on one grid."""
    if label.shape[0] != 1 or distance.shape[0] != 2 or label.shape[1:] != distance.shape[1:]:
        raise BadInput(
            f"'label' is {tuple(label.shape)} and 'distance' {tuple(distance.shape)}",
            "wanted one channel of class indices, and on the same grid D and the ones that go with it",
            "Give spatial transforms both, and other transforms neither",
        )


def check_distance(distance: Tensor, ones: Tensor, maxima: Tensor, smallest: float) -> None:
    """Raises BadInput for values that D cannot have: something other than space was transformed.

    Where `ones` is w, a D mixed of voxels and padding, which is 0, lies between w · `smallest` and
    w · the largest M; so it does after any chain of linear interpolations.
    """
    low, high = (float(value) for value in torch.aminmax(ones))
    mixed = high < _WHOLE and float((ones > _SLIP).float().mean()) > _MOST_MIXED
    if mixed or not -_SLIP < low <= high < 1 + _SLIP:
        raise BadInput(
            f"the ones beside D in 'distance' have become {low:.3g} to {high:.3g}",
            "wanted 1, and less only beside padding",
            _REMEDY,
        )
    most, slack = max(float(maxima.max()), smallest), _ROUNDING * smallest
    above = distance - ones * (most * (1 + _ROUNDING))
    below = ones * (smallest / 2) - distance
    if not max(float(above.max()), float(below.max())) <= slack:
        low, high = (float(value) for value in torch.aminmax(distance))
        raise BadInput(
            f"'distance' has values from {low:.3g} to {high:.3g}",
            f"wanted {smallest:.3g} to {most:.3g}, as read, and 0 in padding",
            _REMEDY,
        )
