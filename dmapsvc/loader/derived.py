"""What is derived of a case once, before patches of it are read: how stored voxels become a patch's values.

Pure arithmetic on a case's record; keeping cases open is `opened.py`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dmapsvc.errors import NotFound
from dmapsvc.loader.classes import Classes, check_classes
from dmapsvc.loader.sampling import Positions
from dmapsvc.loader.turns import Plane
from dmapsvc.region import Scale
from dmapsvc.store import CaseRecord, ImageRecord
from dmapsvc.store.mapped import MappedCase

Normalise = Literal["case"] | tuple[float, float] | None
"""How an image is normalised: by its own mean and deviation, by a (mean, deviation) given, or not at all."""


@dataclass(frozen=True, kw_only=True)
class Linear:
    """A value is stored · `factor` + `offset`: by channel or by class."""

    factor: NDArray[np.float64]
    offset: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class DrawnCase:
    """A case with what patches of it need.

    `image`: to normalised values, by channel; `padding`: the normalised minimum, by channel. `phi`,
    `distance`: to Φ scaled and to D = M − Φ in the map's unit, by class. `maxima`, `means`: float32
    (classes,), M and mean Φ, 0 where the case lacks the class. `foreground`: positions of each class it has.
    """

    voxels: MappedCase
    image: Linear
    padding: tuple[float, ...]
    phi: Linear
    distance: Linear
    maxima: NDArray[np.float32]
    means: NDArray[np.float32]
    foreground: Sequence[Positions]
    plane: Plane

    @property
    def record(self) -> CaseRecord:
        """What the case says about itself."""
        return self.voxels.record


def derive(voxels: MappedCase, *, classes: Classes, scale: Scale, normalise: Normalise) -> DrawnCase:
    """The case of `voxels`. Raises NotFound if it has no image, BadLabels for a label outside `classes`."""
    record = voxels.record
    check_classes(voxels.name, record, classes)
    image, padding = normalisation(check_image(voxels.name, record), normalise)
    phi, distance, maxima, means = _by_class(record, classes, scale)
    positions = voxels.positions()
    return DrawnCase(
        voxels=voxels,
        image=image,
        padding=padding,
        phi=phi,
        distance=distance,
        maxima=maxima,
        means=means,
        foreground=[positions[value] for value in classes[1:] if len(positions.get(value, ()))],
        plane=Plane.of(record.spacing, record.spec.units),
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


def normalisation(image: ImageRecord, normalise: Normalise) -> tuple[Linear, tuple[float, ...]]:
    """(stored − mean) / deviation of each channel, and the normalised minimum of each."""
    means = np.array([channel.mean for channel in image.moments])
    deviations = np.array([channel.deviation for channel in image.moments])
    if normalise != "case":
        mean, deviation = (0.0, 1.0) if normalise is None else normalise
        means, deviations = np.full_like(means, mean), np.full_like(deviations, deviation)
    minima = np.array([channel.minimum for channel in image.moments])
    padding = ((minima - means) / deviations).tolist()
    return Linear(factor=1 / deviations, offset=-means / deviations), tuple(padding)


def _by_class(
    record: CaseRecord, classes: Classes, scale: Scale
) -> tuple[Linear, Linear, NDArray[np.float32], NDArray[np.float32]]:
    factors, offsets, maxima, means = np.zeros((4, len(classes)))
    for region in record.regions:
        at = classes.index(region.value)
        factors[at], offsets[at] = region.scaling(scale)
        maxima[at], means[at] = region.maximum, region.mean_phi
    step = record.quantisation
    phi = Linear(factor=factors * step.scale_factor, offset=factors * step.add_offset + offsets)
    distance = Linear(factor=np.full_like(maxima, -step.scale_factor), offset=maxima - step.add_offset)
    return phi, distance, maxima.astype(np.float32), means.astype(np.float32)
