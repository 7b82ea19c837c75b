"""What augmentation does to one patch: which turn it gets, what has to be read for it, where it samples.

NumPy alone, in float64 and from a generator that is handed in, so that a seed decides a patch whatever the
device. The sampling itself is in `augment.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dmapsvc.errors import BadInput
from dmapsvc.spec import Spacing, Units, coarsest_axis

Box = tuple[int, int, int]
"""Three whole numbers of voxels along (z, y, x): sides, a corner or margins."""

Offsets = NDArray[np.float64]
"""How far from the middle of a patch, in voxels."""

_ROUNDING: Final = 1e-6  # voxels; 90° must not cost a plane more because its cosine is 6e-17


@dataclass(frozen=True, kw_only=True)
class Plane:
    """The plane in which a case is rotated.

    `normal`: the axis 0, 1 or 2 of (z, y, x) that stands still. `aspect`: how long a voxel is along the
    second of the other two axes, divided by how long along the first, in the unit of D: a rotation is rigid
    where D is measured.
    """

    normal: int = 0
    aspect: float = 1.0

    @classmethod
    def of(cls, spacing: Spacing | None, units: Units) -> Plane:
        """The plane of a case: the two axes other than the coarsest of `spacing` (z, y, x), in mm.

        A tie or no spacing: y and x. For a map in voxels the aspect is 1 whatever the spacing.
        """
        plane = cls(normal=coarsest_axis(spacing))
        if spacing is None or units == "voxel":
            return plane
        first, second = plane.axes
        return cls(normal=plane.normal, aspect=spacing[second] / spacing[first])

    @property
    def axes(self) -> tuple[int, int]:
        """The two axes in the plane, in the order of the array."""
        first, second = (axis for axis in range(3) if axis != self.normal)
        return first, second


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What one patch gets: it is zoomed, rotated in its plane, then flipped, all about its middle.

    `angle`: radians, from the first in-plane axis towards the second (π/2 is `np.rot90` over them). `flips`:
    along z, y, x. `zoom`: how much larger everything becomes. `Turn()` changes nothing.
    """

    angle: float = 0.0
    flips: tuple[bool, bool, bool] = (False, False, False)
    zoom: float = 1.0

    @property
    def resamples(self) -> bool:
        """Whether voxels are interpolated, rather than only moved."""
        return self.angle != 0 or self.zoom != 1

    def margin(self, patch: Box, plane: Plane) -> Box:
        """How many voxels more than the patch, at either end of each axis, this turn samples.

        The source box is `patch + 2 · margin`, about the same middle; it is what `turn_patch` takes.
        """
        rows, columns = (_half(patch[axis]) for axis in plane.axes)
        return _margin(patch, plane, _reach(self.angle, rows, columns, plane.aspect), self.zoom)

    def along(self, axis: int, patch: Box) -> Offsets:
        """Where the patch's voxels lie in the source along an axis that is not rotated, (side,)."""
        return self._flipped(axis, patch) / self.zoom

    def in_plane(self, patch: Box, plane: Plane) -> tuple[Offsets, Offsets]:
        """Where the patch's voxels lie in the source along the first and the second in-plane axis.

        Each (rows, columns): rotated back where D is measured, in which a voxel is 1 × `plane.aspect`.
        """
        first, second = plane.axes
        rows, columns = self._flipped(first, patch)[:, np.newaxis], self._flipped(second, patch)
        cos, sin = math.cos(self.angle) / self.zoom, math.sin(self.angle) / self.zoom
        return cos * rows + sin * plane.aspect * columns, cos * columns - sin / plane.aspect * rows

    def _flipped(self, axis: int, patch: Box) -> Offsets:
        offsets = np.arange(patch[axis], dtype=np.float64) - _half(patch[axis])
        return -offsets if self.flips[axis] else offsets


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Which turns are drawn.

    `rotation`: degrees; the angle is uniform within ± it, in the plane of each case (the paper's random
    in-plane rotations); 180 is any angle. `flip`: the share of patches that are flipped, along z, y and x;
    none by default, as a flip makes a left knee a right one. `zoom`: the smallest and the largest, isotropic,
    their logarithm uniform.

    Raises BadInput for what cannot be drawn.
    """

    rotation: float = 15.0
    flip: tuple[float, float, float] = (0.0, 0.0, 0.0)
    zoom: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        if not isinstance(self.rotation, Real) or not 0 <= self.rotation <= 180:
            raise BadInput(f"a rotation of ±{self.rotation}°", "wanted one number, 0 to 180 degrees")
        if not _are_numbers(self.flip, 3) or not all(0 <= share <= 1 for share in self.flip):
            raise BadInput(f"flips {self.flip}", "wanted three shares of patches (z, y, x), each 0 to 1")
        if not _are_numbers(self.zoom, 2) or not 0 < self.zoom[0] <= self.zoom[1] < math.inf:
            raise BadInput(f"a zoom of {self.zoom}", "wanted the smallest and the largest, both above 0")

    def draw(self, random: np.random.Generator) -> Turn:
        """The next turn of a generator; takes as many numbers from it whatever the options are."""
        angle, zoom, *flips = random.random(5).tolist()
        low, high = self.zoom
        return Turn(
            angle=math.radians(self.rotation) * (2 * angle - 1),
            flips=(flips[0] < self.flip[0], flips[1] < self.flip[1], flips[2] < self.flip[2]),
            zoom=low * (high / low) ** zoom,
        )


def _are_numbers(values: object, count: int) -> bool:
    return isinstance(values, Sequence) and len(values) == count and all(isinstance(v, Real) for v in values)


def _half(side: int) -> float:
    return (side - 1) / 2


def _reach(angle: float, rows: float, columns: float, aspect: float) -> tuple[float, float]:
    """How far from the middle a rotated rectangle reaches along the two in-plane axes, in voxels."""
    cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
    return cos * rows + sin * aspect * columns, cos * columns + sin / aspect * rows


def _margin(patch: Box, plane: Plane, in_plane: tuple[float, float], zoom: float) -> Box:
    reach = [*in_plane]
    reach.insert(plane.normal, _half(patch[plane.normal]))
    z, y, x = (
        max(0, math.ceil(far / zoom - _half(side) - _ROUNDING))
        for far, side in zip(reach, patch, strict=True)
    )
    return z, y, x
