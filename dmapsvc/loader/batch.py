"""What a batch of patches is: the tensors that a training step takes, and their names.

How a batch is drawn, read and augmented is said in `patchloader.py`.
"""

from __future__ import annotations

from typing import TypedDict

from torch import Tensor

IGNORE_INDEX = -100  # the class index of padding; torch's own default


class Batch(TypedDict):
    """N patches.

    `image`: float32 (N, C, z, y, x), normalised. `label`: int16 (N, z, y, x), class indices (int32 if there
    are more than 32,767 classes), `IGNORE_INDEX` where padded. `phi`: float32 (N, z, y, x), Φ scaled.
    `maxima`, `means`: float32 (N, classes), M and the mean Φ of each class's region in the map's unit, 0
    where the case lacks the class; zoomed where the patch is. `corner`: int64 (N, 3), where in the volume
    the patch's corner lies, (z, y, x), negative where it is padded; of an augmented patch, where it would
    lie unturned. `case`: N names.
    """

    image: Tensor
    label: Tensor
    phi: Tensor
    maxima: Tensor
    means: Tensor
    corner: Tensor
    case: list[str]
