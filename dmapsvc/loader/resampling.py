"""Sampling the voxels of a box where a turn says: moved by whole voxels, or interpolated.

Which ones, and which are real, is found by NumPy in float64, the same for every device; torch gathers them
where they are. What image, label map and D become with it is in `augment.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dmapsvc.loader.turns import Box, Offsets, Plane, Turn

Slices = tuple[slice, slice, slice]
_Indices = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Where a patch and the real voxels lie in a source box, all axes (z, y, x).

    The patch lies in the middle of the box; `real` is the part of the box that holds voxels of the volume, at
    least one.
    """

    patch: Box
    box: Box
    real: Slices

    def among_real(self, offsets: Offsets, axis: int) -> Offsets:
        """Offsets from the middle along an axis, counted from the first real voxel."""
        middle: float = (self.box[axis] - 1) / 2 - self.real[axis].start
        return offsets + middle

    def count(self, axis: int) -> int:
        """How many real voxels there are along an axis."""
        count: int = self.real[axis].stop - self.real[axis].start
        return count

    def outside(self, positions: Offsets, axis: int) -> NDArray[np.bool_]:
        """Whether the voxel nearest to each position is not real."""
        nearest = _nearest(positions)
        outside: NDArray[np.bool_] = (nearest < 0) | (nearest >= self.count(axis))
        return outside


class Sampling(Protocol):
    """How a patch is taken from real voxels, all axes (normal, first, second) of the plane.

    `outside`: where a voxel's nearest source voxel is not real, bool and to be broadcast; None if nowhere.
    Linear or nearest, what lies beyond the last real voxel is taken from it.
    """

    outside: Tensor | None

    def linear(self, values: Tensor, planes: slice) -> Tensor:
        """Some planes of the patch, interpolated: float32 (C, …)."""
        ...

    def nearest(self, values: Tensor, planes: slice) -> Tensor:
        """Some planes of the patch, the nearest voxels of any type."""
        ...


def sampling(turn: Turn, plane: Plane, frame: Frame, device: torch.device) -> Sampling:
    """How a turn samples voxels that lie on a device."""
    return (_Resampled if turn.resamples else _Moved)(turn, plane, frame, device)


class _Moved:
    """Voxels that are moved by whole voxels along each axis, and flipped."""

    def __init__(self, turn: Turn, plane: Plane, frame: Frame, device: torch.device) -> None:
        axes = (plane.normal, *plane.axes)
        lines = [frame.among_real(turn.along(axis, frame.patch), axis) for axis in axes]
        normal, first, second = (frame.outside(line, axis) for line, axis in zip(lines, axes, strict=True))
        outside = normal[:, np.newaxis, np.newaxis] | first[:, np.newaxis] | second
        self.outside = _mask(outside, device)
        self._lines = [
            _nearest(line).clip(0, frame.count(axis) - 1) for line, axis in zip(lines, axes, strict=True)
        ]

    def linear(self, values: Tensor, planes: slice) -> Tensor:
        return self.nearest(values, planes)

    def nearest(self, values: Tensor, planes: slice) -> Tensor:
        normal, first, second = self._lines
        for axis, line in ((-3, normal[planes]), (-2, first), (-1, second)):
            values = _pick(values, axis, line)
        return values


class _Resampled:
    """Voxels that are rotated in the plane and zoomed: planes alike, then across planes."""

    def __init__(self, turn: Turn, plane: Plane, frame: Frame, device: torch.device) -> None:
        first, second = plane.axes
        planes = frame.among_real(turn.along(plane.normal, frame.patch), plane.normal)
        rows, columns = turn.in_plane(frame.patch, plane)
        rows, columns = frame.among_real(rows, first), frame.among_real(columns, second)
        beside = frame.outside(rows, first) | frame.outside(columns, second)
        self.outside = _mask(frame.outside(planes, plane.normal)[:, np.newaxis, np.newaxis] | beside, device)
        sides = frame.count(first), frame.count(second)
        self._pixels = torch.from_numpy(_flat(rows, columns, sides)).to(device)
        self._grid = torch.from_numpy(_grid(rows, columns, sides)).to(device)
        self._planes = planes.clip(0, frame.count(plane.normal) - 1)

    def linear(self, values: Tensor, planes: slice) -> Tensor:
        at = self._planes[planes]
        low, high = np.floor(at).astype(np.int64), np.ceil(at).astype(np.int64)
        first = int(low.min())
        needed = _close(values.narrow(-3, first, int(high.max()) + 1 - first))
        grid = self._grid.expand(len(values), -1, -1, -1)
        sampled = functional.grid_sample(needed, grid, "bilinear", "border", align_corners=True)
        below = _pick(sampled, -3, low - first)
        if np.array_equal(low, high):
            return below
        share = torch.from_numpy((at - low).astype(np.float32)).to(values.device)
        return torch.lerp(below, _pick(sampled, -3, high - first), share[:, np.newaxis, np.newaxis])

    def nearest(self, values: Tensor, planes: slice) -> Tensor:
        needed = _close(_pick(values, -3, _nearest(self._planes[planes]))).flatten(1)
        pixels = self._pixels.flatten().expand(len(needed), -1)
        return needed.gather(1, pixels).view(len(needed), *self._pixels.shape)


def _close(values: Tensor) -> Tensor:
    """A copy in one piece.

    Made in order, it is in the cache when the gathering jumps about in it: that halves the time on a CPU.
    """
    return values.clone(memory_format=torch.contiguous_format)


def _mask(outside: NDArray[np.bool_], device: torch.device) -> Tensor | None:
    return torch.from_numpy(outside).to(device) if outside.any() else None


def _nearest(positions: Offsets) -> _Indices:
    return np.floor(positions + 0.5).astype(np.int64)


def _flat(rows: Offsets, columns: Offsets, sides: tuple[int, int]) -> _Indices:
    """The index of the nearest pixel in a flattened plane, of the nearest at its edge beyond it."""
    height, width = sides
    flat: _Indices = _nearest(rows).clip(0, height - 1) * width + _nearest(columns).clip(0, width - 1)
    return flat


def _grid(rows: Offsets, columns: Offsets, sides: tuple[int, int]) -> NDArray[np.float32]:
    """Positions as `grid_sample` takes them, (1, rows, columns, 2): column first, −1 and 1 the outermost."""
    height, width = (max(side - 1, 1) for side in sides)
    return np.stack([2 * columns / width - 1, 2 * rows / height - 1], axis=-1, dtype=np.float32)[np.newaxis]


def _pick(values: Tensor, axis: int, indices: NDArray[Any]) -> Tensor:
    """The slices of an axis at `indices`, as a view where they follow one another."""
    steps = np.diff(indices)
    if np.all(steps == 1):
        return values.narrow(axis, int(indices[0]), len(indices))
    if np.all(steps == -1):
        return values.narrow(axis, int(indices[-1]), len(indices)).flip(axis)
    return values.index_select(axis, torch.from_numpy(indices).to(values.device))
