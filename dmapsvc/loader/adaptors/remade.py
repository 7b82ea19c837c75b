"""The last step of the adaptors: Φ of what a library's spatial transforms left of label map and D."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dmapsvc.errors import BadInput
from dmapsvc.loader.augment import penalty_from_distance
from dmapsvc.loader.batch import IGNORE_INDEX
from dmapsvc.region import SCALES, Scale

_ROUNDING = 0.05  # by which interpolated values may leave those they lie between
_MOST_BETWEEN = 0.1  # of the voxels: between padding and volume there is but a rim


@dataclass(frozen=True, kw_only=True)
class Remade:
    """`label`: int64 (…), IGNORE_INDEX where padded; `phi`: float32 (…), 0 there; `maxima` and `means`:
    float32 (classes,), zoomed.
    """

    label: Tensor
    phi: Tensor
    maxima: Tensor
    means: Tensor


def check_scale(scale: Scale) -> Scale:
    """`scale` itself; raises BadInput if there is none of that name."""
    if scale not in SCALES:
        raise BadInput(f"scale {scale!r}", f"wanted one of {', '.join(SCALES)}")
    return scale


def check_distance(distance: Tensor, maxima: Tensor, smallest: float) -> None:
    """Raises BadInput for values that D cannot have: something other than space was transformed.

    They lie between `smallest` and the largest M, but for the padding, which is 0, and what is interpolated
    with it.
    """
    low, high = (float(value) for value in torch.aminmax(distance))
    most = max(float(maxima.max()), smallest)
    between = ((distance > 0) & (distance < smallest / 2)).float().mean()
    if not (-_ROUNDING <= low <= high <= most * (1 + _ROUNDING) and between <= _MOST_BETWEEN):
        raise BadInput(
            f"'distance' has values from {low:.3g} to {high:.3g}",
            f"wanted {smallest:.3g} to {most:.3g}, as read; or not all was interpolated linearly",
            "Leave 'distance' out of intensity transforms",
        )


def remake_penalty(
    *,
    label: Tensor,
    distance: Tensor,
    padded: Tensor,
    maxima: Tensor,
    means: Tensor,
    smallest: float,
    stretch: float,
    scale: Scale,
) -> Remade:
    """Φ = M(label) − D, with D and the maxima multiplied by `stretch`, scaled last.

    `label`: class indices, of any type, and `distance`, float, both (1, …); `padded`: bool, in the same
    shape; `maxima`, `means`, float32 (classes,), and `smallest`, the least D of a voxel, as they were read.
    All is made where `distance` lies. Raises BadInput for a `distance` that is none.
    """
    check_distance(distance, maxima, smallest)
    classes = label.round().long().masked_fill(padded, IGNORE_INDEX)
    maxima, means = (values.to(distance.device) * stretch for values in (maxima, means))
    phi = penalty_from_distance(
        distance * stretch, classes, maxima=maxima[None], means=means[None], scale=scale
    )
    return Remade(label=classes, phi=phi, maxima=maxima, means=means)
