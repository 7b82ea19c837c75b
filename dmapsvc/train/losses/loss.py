"""What every loss is: how it is called, what it refuses, and which voxels count.

No formula lives here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from dmapsvc.errors import BadInput
from dmapsvc.loader import IGNORE_INDEX


class Loss(nn.Module, ABC):
    """A loss of logits against target classes, which may use the distance map Φ.

    `ignore_index` marks the voxels that do not count, as the loader pads labels: the loss is what it would be
    without them. Without any voxel to count it is 0, and so is its gradient.
    """

    def __init__(self, *, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, target: Tensor, phi: Tensor) -> Tensor:
        """The loss, a scalar in float32; float16 and bfloat16 logits are taken to float32 first.

        `logits`: (N, C, …), floating; `target`: (N, …), of any integer type, class indices or
        `ignore_index`; `phi`: (N, …), floating, the scaled Φ. Raises BadInput if they do not fit together.
        float64 logits keep their precision where the formula is ours.
        """
        self.check(logits, target, phi)
        if logits.dtype != torch.float64:
            logits = logits.float()
        return self.compute(logits, target.long(), phi.to(logits.dtype))

    @abstractmethod
    def compute(self, logits: Tensor, target: Tensor, phi: Tensor) -> Tensor:
        """The formula, of logits in float32 or float64, a target in int64 and Φ in the logits' type."""

    def counted(self, target: Tensor) -> Tensor:
        """Which voxels count, bool in the target's shape."""
        return target != self.ignore_index

    def onehot(self, target: Tensor, like: Tensor) -> Tensor:
        """1 in the channel of each voxel's class, (N, C, …) as `like`; ignored voxels are 0 in all."""
        counted = self.counted(target)
        index = target.masked_fill(~counted, 0)
        return torch.zeros_like(like).scatter(1, index.unsqueeze(1), counted.unsqueeze(1).to(like.dtype))

    def mean(self, values: Tensor, target: Tensor) -> Tensor:
        """The mean of a value a voxel over those that count; 0 if none does."""
        counted = self.counted(target)
        return values.masked_fill(~counted, 0).sum() / counted.sum().clamp(min=1)

    def check(self, logits: Tensor, target: Tensor, phi: Tensor) -> None:
        """Raises BadInput if the three do not fit together, or not with this loss."""
        voxels = (*logits.shape[:1], *logits.shape[2:])
        if logits.ndim < 2 or not logits.is_floating_point():
            raise BadInput(f"logits are {_describe(logits)}", "wanted floating numbers of shape (N, C, …)")
        if target.shape != voxels or target.is_floating_point() or target.dtype == torch.bool:
            raise BadInput(
                f"target is {_describe(target)}", f"logits {tuple(logits.shape)} want integers {voxels}"
            )
        if phi.shape != voxels or not phi.is_floating_point():
            raise BadInput(f"phi is {_describe(phi)}", f"logits {tuple(logits.shape)} want floating {voxels}")


def check_weights(weights: Tensor, logits: Tensor) -> None:
    """Raises BadInput unless there is one weight a class."""
    if weights.shape != logits.shape[1:2]:
        raise BadInput(
            f"{weights.numel()} class weights", f"the logits have {logits.shape[1]} classes", "Give one each"
        )


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
