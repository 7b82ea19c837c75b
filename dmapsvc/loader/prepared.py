"""A case made ready for drawing patches, and the cutting of one patch.

What is found once a case is kept here: the image's normalisation, a sample of foreground positions, each
class's scaling of Φ. Arrays are read anew for every patch.
"""

from __future__ import annotations

import math
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dmapsvc.errors import NotFound
from dmapsvc.loader.classes import Classes, check_classes, class_indices
from dmapsvc.region import Scale
from dmapsvc.store import Case, CaseRecord, ImageRecord

IGNORE_INDEX = -100  # the class index of padding; torch's own default
FOREGROUND_SAMPLE = (
    4096  # positions kept a case (48 kB): enough that patches hardly repeat, little enough to keep
)

Box = tuple[int, int, int]
"""A corner or the sides of a patch, (z, y, x) in voxels."""


class Patch(TypedDict):
    """A patch as tensors.

    `image`: float32 (C, z, y, x), z-scored by case and channel; `label`: int64 (z, y, x), class indices,
    IGNORE_INDEX where padded; `phi`: float32 (z, y, x), the scaled Φ; `case`: its name; `maxima`: float32
    (classes,), M of each class's region in the map's unit, 0 where the case lacks it.
    """

    image: Tensor
    label: Tensor
    phi: Tensor
    case: str
    maxima: Tensor


class PreparedCase:
    """A case of which patches can be cut.

    Raises NotFound if it has no image and BadLabels if it has a label outside `classes`.
    """

    def __init__(self, case: Case, *, classes: Classes, scale: Scale) -> None:
        check_image(case.name, case.record)
        check_classes(case.name, case.record, classes)
        self._case, self._classes = case, classes
        self.shape: Box = case.record.shape
        self._mean, self._deviation, self._minimum = _moments(_channels_first(case.read("image")))
        self.foreground = _foreground(case.read("label"), classes)
        self._factors, self._offsets, self._maxima = _scalings(case, classes, scale)

    def cut(self, corner: Box, sides: Box) -> Patch:
        """The patch of `sides` at `corner`, which may lie outside the volume.

        What is outside is padding: the image's minimum, IGNORE_INDEX, Φ = 0. Nothing is interpolated.
        """
        inside, place = _overlap(corner, sides, self.shape)
        image = np.empty((len(self._mean), *sides), dtype=np.float32)
        image[:] = self._minimum
        image[(slice(None), *place)] = _channels_first(self._case.read("image", (..., *inside)))
        image -= self._mean
        image /= self._deviation
        found = class_indices(self._case.read("label", inside), self._classes)
        label = np.full(sides, IGNORE_INDEX, dtype=np.int64)
        label[place] = found
        phi = np.zeros(sides, dtype=np.float32)
        phi[place] = self._factors[found] * self._case.phi_values(inside) + self._offsets[found]
        return Patch(
            image=torch.from_numpy(image),
            label=torch.from_numpy(label),
            phi=torch.from_numpy(phi),
            case=self._case.name,
            maxima=torch.from_numpy(self._maxima.copy()),
        )


def check_image(case: str, record: CaseRecord) -> ImageRecord:
    """The record of a case's image; raises NotFound if it has none."""
    if record.image is None:
        raise NotFound(
            f"case {case!r} has no image",
            "training needs one",
            "Add it with `dmapsvc submit --images`, or `dmapsvc precompute --images`",
        )
    return record.image


def _channels_first(image: NDArray[Any]) -> NDArray[np.float32]:
    """(z, y, x) or (C, z, y, x) of any type as float32 (C, z, y, x)."""
    values = image.astype(np.float32)
    return values if values.ndim == 4 else values[np.newaxis]


def _moments(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean, standard deviation (1 for a constant image) and minimum of each channel, (3, C, 1, 1, 1)."""
    moments = np.array([_channel_moments(channel) for channel in image], dtype=np.float32)
    return moments.T.reshape(3, -1, 1, 1, 1)


def _channel_moments(channel: NDArray[np.float32]) -> tuple[float, float, float]:
    mean = float(channel.mean(dtype=np.float64))
    # A plane at a time: NumPy's own deviation would make a float64 copy of the volume.
    squares = sum(float(np.square(plane - mean, dtype=np.float64).sum()) for plane in channel)
    return mean, math.sqrt(squares / channel.size) or 1.0, float(channel.min())


def _foreground(labels: NDArray[Any], classes: Classes) -> NDArray[np.int32]:
    """Up to FOREGROUND_SAMPLE positions (n, 3) of voxels of a class, drawn alike in every process."""
    found = np.flatnonzero(np.isin(labels, classes[1:]))
    if len(found) > FOREGROUND_SAMPLE:
        found = np.random.default_rng(0).choice(found, FOREGROUND_SAMPLE, replace=False)
    return np.stack(np.unravel_index(found, labels.shape), axis=1).astype(np.int32)


def _scalings(case: Case, classes: Classes, scale: Scale) -> tuple[NDArray[np.float32], ...]:
    """Factor and offset of Φ and maximum M by class index; 0 for a class the case lacks."""
    table = np.zeros((3, len(classes)), dtype=np.float32)
    for region in case.record.regions:
        table[:, classes.index(region.value)] = (*region.scaling(scale), region.maximum)
    return tuple(table)


def _overlap(corner: Box, sides: Box, shape: Box) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where patch and volume overlap: in the volume and in the patch."""
    low = [max(at, 0) for at in corner]
    high = [
        max(low_, min(at + side, size))
        for low_, at, side, size in zip(low, corner, sides, shape, strict=True)
    ]
    inside = tuple(slice(*ends) for ends in zip(low, high, strict=True))
    place = tuple(slice(a - at, b - at) for a, b, at in zip(low, high, corner, strict=True))
    return inside, place
