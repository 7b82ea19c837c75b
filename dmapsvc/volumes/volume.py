"""A volume and what its header says of it, the same for every format.

Only the records live here; how they are read from a file is the business of the format modules, and what
they may say is in `checks`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dmapsvc.spec import Spacing

Kind = Literal["labels", "image"]
Shape = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says of its volume before a voxel is read.

    `format`: the family, for people ("NIfTI-1"). `shape`: (z, y, x), the file's voxel axes (k, j, i), never
    reoriented; a 2-D file is (1, y, x). `dtype`: the file's number type, in native byte order. `spacing`:
    (z, y, x) in mm, None where the file has none. `affine`: 4×4, maps (i, j, k, 1) to RAS+ mm whatever the
    format's own convention, None where the file has none. `channels`: values a voxel, 1 for a label map.
    """

    format: str
    shape: Shape
    dtype: np.dtype[Any]
    spacing: Spacing | None
    affine: NDArray[np.float64] | None
    channels: int = 1

    @property
    def voxels(self) -> int:
        """Number of voxels, a voxel of several channels counted once."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """What the voxels take in memory once they are read, all channels.

        Each as wide as in the file, but no less than the float32 that it becomes where the file scales it.
        """
        return self.voxels * self.channels * max(self.dtype.itemsize, 4)


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A header and its voxels.

    `array`, C order and native byte order: of labels (z, y, x) in the smallest unsigned type that holds the
    largest one; of an image (z, y, x), or (c, z, y, x) when it has several channels, in the file's type
    (float32 where the file scales its values).
    """

    header: Header
    array: NDArray[Any]
