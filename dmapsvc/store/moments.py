"""Mean, deviation and range of an image's voxels, so that normalising a patch asks nothing of the volume.

Computed once, when the image is published; what is done with them is the loader's affair.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmapsvc.errors import BadInput
from dmapsvc.store.record import Moments


class Running:
    """Moments of voxels that come in parts, each joined by Chan's formula (Chan, Golub and LeVeque 1983, eq.
    2.1), which does not cancel.
    """

    def __init__(self) -> None:
        self._voxels, self._mean = 0, 0.0
        self._squares = 0.0  # the sum of squared differences from the mean
        self._minimum, self._maximum = math.inf, -math.inf

    def add(self, part: NDArray[Any]) -> None:
        """Take in the voxels of `part`, of any shape but not empty."""
        self._minimum = min(self._minimum, float(part.min()))
        self._maximum = max(self._maximum, float(part.max()))
        values = part.astype(np.float64).ravel()
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(values.mean())
            values -= mean
            squares = float(values @ values)
        difference, total = mean - self._mean, self._voxels + values.size
        self._squares += squares + difference * difference * self._voxels * values.size / total
        self._mean += difference * values.size / total
        self._voxels = total

    def moments(self) -> Moments:
        """Of all that was added; the deviation is not finite where the voxels' squares are not."""
        if self._minimum == self._maximum:  # exactly: a mean of equal numbers is rounded
            return Moments(mean=self._minimum, deviation=1.0, minimum=self._minimum, maximum=self._maximum)
        deviation = math.sqrt(self._squares / self._voxels) or 1.0
        return Moments(mean=self._mean, deviation=deviation, minimum=self._minimum, maximum=self._maximum)


def channel_moments(image: NDArray[Any]) -> tuple[Moments, ...]:
    """The moments of each channel of an image, (z, y, x) or (c, z, y, x), a plane at a time.

    Raises BadInput where the voxels are so large that their variance is no finite number.
    """
    return tuple(_moments(channel) for channel in (image if image.ndim == 4 else image[None]))


def are_close(found: Moments, recorded: Moments) -> bool:
    """Whether both can be of the same voxels: equal in range, and in the rest but for rounding."""
    rounding = 1e-9 * max(1.0, abs(recorded.minimum), abs(recorded.maximum))
    return (
        (found.minimum, found.maximum) == (recorded.minimum, recorded.maximum)
        and abs(found.mean - recorded.mean) <= rounding
        and abs(found.deviation - recorded.deviation) <= 1e-6 * recorded.deviation + rounding
    )


def _moments(volume: NDArray[Any]) -> Moments:
    running = Running()
    for plane in volume:
        running.add(plane)
    moments = running.moments()
    if not (math.isfinite(moments.mean) and math.isfinite(moments.deviation)):
        raise BadInput(
            "the image's voxels are too large for a finite variance", remedy="Divide them by a constant"
        )
    return moments
