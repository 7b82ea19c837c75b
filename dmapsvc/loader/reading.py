"""One patch of one case, read into tensors that are handed in: as it will be, or as it is before a turn.

Which patch it is, and whose memory, is decided elsewhere (`sampling.py`, `making.py`).
"""

from __future__ import annotations

import torch

from dmapsvc.loader.augment import RawPatch, Target
from dmapsvc.loader.batch import IGNORE_INDEX
from dmapsvc.loader.derived import DrawnCase
from dmapsvc.loader.ring import Scratch
from dmapsvc.loader.turns import Box
from dmapsvc.store.classtable import ClassTable
from dmapsvc.store.foreign import overlap


def read_patch(case: DrawnCase, corner: Box, target: Target, table: ClassTable) -> None:
    """Fill `target` with the patch of its sides at `corner`, which may lie outside the volume.

    What is outside is padding: the image's normalised minimum, IGNORE_INDEX, Φ = 0. Raises Damaged.
    """
    image, label, phi = target.image.numpy(), target.label.numpy(), target.phi.numpy()
    if overlap(corner, label.shape, case.record.shape) != tuple(slice(0, side) for side in label.shape):
        for channel, value in zip(image, case.padding, strict=True):
            channel.fill(value)
        label.fill(IGNORE_INDEX)
        phi.fill(0)
    case.voxels.read_image(corner, image, case.image.factor, case.image.offset)
    case.voxels.read_label(corner, label, table)
    case.voxels.read_phi(corner, phi, label, case.phi.factor, case.phi.offset)
    target.maxima.copy_(torch.from_numpy(case.maxima))
    target.means.copy_(torch.from_numpy(case.means))


def read_raw(
    case: DrawnCase, corner: Box, sides: Box, label_dtype: torch.dtype, scratch: Scratch, table: ClassTable
) -> RawPatch:
    """The box of `sides` at `corner`, with D in place of Φ, in memory of `scratch`. Raises Damaged.

    What lies outside the volume is left unset, as `RawPatch` allows.
    """
    image = scratch.take("image", (len(case.padding), *sides), torch.float32)
    label = scratch.take("label", sides, label_dtype)
    distance = scratch.take("distance", sides, torch.float32)
    case.voxels.read_image(corner, image.numpy(), case.image.factor, case.image.offset)
    case.voxels.read_label(corner, label.numpy(), table)
    case.voxels.read_phi(corner, distance.numpy(), label.numpy(), case.distance.factor, case.distance.offset)
    z, y, x = overlap(corner, sides, case.record.shape)
    return RawPatch(
        image=image,
        label=label,
        distance=distance,
        maxima=torch.from_numpy(case.maxima),
        means=torch.from_numpy(case.means),
        real=(z, y, x),
        padding=case.padding,
        plane=case.plane,
    )
