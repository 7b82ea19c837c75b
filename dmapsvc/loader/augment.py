"""Turning a patch: image, label map and D are sampled together, and Φ is made again from D.

In torch, on whichever device the patch lies. Which turn a patch gets and what has to be read for it is in
`turns.py`, the sampling in `resampling.py`; reading is the loader's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from dmapsvc.loader.batch import IGNORE_INDEX
from dmapsvc.loader.resampling import Frame, Slices, sampling
from dmapsvc.loader.turns import Box, Plane, Turn
from dmapsvc.region import Scale, scaling

# Voxels that are turned at a time: what that takes stays in the cache, and is so little that malloc does not
# hand it back to the system, to be faulted in again for the next patch.
CPU_BLOCK: Final = 2**16


@dataclass(frozen=True, kw_only=True)
class RawPatch:
    """What is read of a case for one patch, not yet turned.

    The tensors hold a box about the middle of the patch, larger than it by one margin at either end of each
    axis: at least `Turn.margin`. `image`: float32 (C, Z, Y, X), normalised. `label`: (Z, Y, X), class indices
    of any integer type. `distance`: float32 (Z, Y, X), D = M − Φ in the map's unit, unscaled. `maxima`,
    `means`: float32 (classes,), M and mean Φ of each class, 0 where the case lacks it.

    `real`: which part of the box holds voxels of the volume, at least one, as slices with start and stop.
    Nothing outside it is ever looked at, so what lies there need not be written. `padding`: by channel, the
    value of the image outside the volume. `plane`: the one it is rotated in.
    """

    image: Tensor
    label: Tensor
    distance: Tensor
    maxima: Tensor
    means: Tensor
    real: Slices
    padding: tuple[float, ...]
    plane: Plane


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a turned patch is written: views of a batch's tensors, of any strides.

    `image`: float32 (C, z, y, x); `label`: (z, y, x) of a signed integer type; `phi`: float32 (z, y, x);
    `maxima`, `means`: float32 (classes,). The sides of the patch are those of `label`.
    """

    image: Tensor
    label: Tensor
    phi: Tensor
    maxima: Tensor
    means: Tensor


def turn_patch(raw: RawPatch, turn: Turn, target: Target, *, scale: Scale) -> None:
    """Write the turned patch: image and D linear, label nearest, then Φ = M(label) − D in a scale.

    Φ is never interpolated, as it jumps at boundaries; D does not. Where D exceeds the M of its new region, Φ
    is 0. A zoom multiplies D, M and the means, and so Φ; the scale, by `region.scaling`, comes last. A voxel
    whose nearest source voxel is not `real` is padding: the image's `padding`, IGNORE_INDEX, Φ = 0. Near it,
    the last real voxel is repeated.

    `Turn()` copies image and label bit by bit. Everything lies on one device. Raises BadInput for an unknown
    scale.
    """
    torch.mul(raw.maxima, turn.zoom, out=target.maxima)
    torch.mul(raw.means, turn.zoom, out=target.means)
    frame = Frame(patch=_sides(target.label), box=_sides(raw.label), real=raw.real)
    way = sampling(turn, raw.plane, frame, raw.label.device)
    image = _faced(raw.image[(slice(None), *raw.real)], raw.plane)
    label, distance = (_faced(volume[raw.real], raw.plane) for volume in (raw.label, raw.distance))
    images, labels, phis = (_faced(out, raw.plane) for out in (target.image, target.label, target.phi))
    for planes in _blocks(labels):
        nearest = way.nearest(label, planes)
        zoomed = way.linear(distance.unsqueeze(0), planes)[0] * turn.zoom
        images[:, planes] = way.linear(image, planes)
        labels[planes] = nearest
        phis[planes] = _penalty(zoomed, nearest, target.maxima, target.means, scale)
    if way.outside is not None:
        labels.masked_fill_(way.outside, IGNORE_INDEX)
        phis.masked_fill_(way.outside, 0)
        for channel, padding in zip(images, raw.padding, strict=True):
            channel.masked_fill_(way.outside, padding)


def penalty_from_distance(
    distance: Tensor, label: Tensor, *, maxima: Tensor, means: Tensor, scale: Scale
) -> Tensor:
    """Φ in a scale, float32, from D and the class of each voxel: a · max(M − D, 0) + b, by `region.scaling`.

    `distance`: float32 (z, y, x), in the map's unit, and `maxima`, `means`: float32 (classes,), of the map
    before it was resampled; if it was zoomed, D, M and the means have been multiplied by the zoom. `label`:
    class indices (z, y, x) of any integer type; where negative (IGNORE_INDEX), Φ is 0. With a batch's axis in
    front of all four, each patch has its own maxima and means. Raises BadInput for an unknown scale.
    """
    phi = _penalty(distance, label.clamp(min=0), maxima, means, scale)
    return phi.masked_fill_(label < 0, 0)


def _penalty(distance: Tensor, label: Tensor, maxima: Tensor, means: Tensor, scale: Scale) -> Tensor:
    factor, offset = scaling(maxima, means, scale)
    index = _table_index(label, maxima)
    phi = _lookup(maxima, index).sub_(distance).clamp_(min=0)
    if scale != "none":
        phi.mul_(_lookup(factor, index))
    if scale == "balanced":
        phi.add_(_lookup(offset, index))
    return phi


def _blocks(volume: Tensor) -> Iterator[slice]:
    """Runs of planes of a volume: few voxels on a CPU, all of them on another device."""
    count, rows, columns = volume.shape
    step = max(1, CPU_BLOCK // (rows * columns)) if volume.device.type == "cpu" else count
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def _table_index(label: Tensor, table: Tensor) -> Tensor:
    """Where each voxel's class lies in a flattened table (classes,) or (N, classes), int64."""
    index = label.long()
    if table.ndim == 1:
        return index
    first = torch.arange(0, table.numel(), table.shape[-1], device=table.device)
    return index + first.reshape(-1, 1, 1, 1)


def _lookup(table: Tensor, index: Tensor) -> Tensor:
    return table.flatten().index_select(0, index.flatten()).view(index.shape)


def _faced(tensor: Tensor, plane: Plane) -> Tensor:
    """(…, z, y, x) as (…, normal, first, second)."""
    return tensor.movedim(plane.normal - 3, -3)


def _sides(volume: Tensor) -> Box:
    z, y, x = volume.shape
    return z, y, x
