"""The loss that Φ is made for: cross-entropy, voxel by voxel, weighted with 1 + Φ.

Only the loss lives here. Φ arrives scaled already (the loader does that, `Region.scaling` says how).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from dmapsvc.errors import BadInput
from dmapsvc.loader import IGNORE_INDEX


class PenalizedCrossEntropy(nn.Module):
    """Cross-entropy penalised with a distance map, equation 2 of Calivá et al. 2019.

    For logits of N voxels with target classes y and maps Φ,

        L = 1/N · Σ_i (1 + Φ_i) · CE_i,    CE_i = −w[y_i] · log softmax(logits_i)[y_i]

    The sum runs over the voxels that are not ignored and N is their number: the mean is divided neither by
    the sum of 1 + Φ nor by that of the class weights, so a larger penalty is a larger loss. Without any voxel
    to count the loss is 0 and so is its gradient. Logits in float16 or bfloat16 are taken to float32 first.

    `ignore_index` marks the voxels that do not count, as the loader pads labels; `weight` is one factor w a
    class.
    """

    weight: Tensor | None

    def __init__(
        self, *, ignore_index: int = IGNORE_INDEX, weight: Sequence[float] | Tensor | None = None
    ) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.register_buffer(
            "weight", None if weight is None else torch.as_tensor(weight, dtype=torch.float32)
        )

    def forward(self, logits: Tensor, target: Tensor, phi: Tensor) -> Tensor:
        """The loss, a scalar in float32 (float64 for float64 logits).

        `logits`: (N, C, …), floating; `target`: (N, …), of any integer type, class indices or
        `ignore_index`; `phi`: (N, …), floating, the scaled Φ. Raises BadInput if they do not fit together.
        """
        self._check(logits, target, phi)
        target = target.long()  # what torch asks for; loaders deliver less, to move less
        if logits.dtype != torch.float64:
            logits = logits.float()
        weight = None if self.weight is None else self.weight.to(logits.dtype)
        entropy = functional.cross_entropy(
            logits, target, weight=weight, ignore_index=self.ignore_index, reduction="none"
        )
        counted = target != self.ignore_index
        penalty = (1 + phi.to(logits.dtype)).masked_fill(~counted, 0)
        return (penalty * entropy).sum() / counted.sum().clamp(min=1)

    def _check(self, logits: Tensor, target: Tensor, phi: Tensor) -> None:
        voxels = (*logits.shape[:1], *logits.shape[2:])
        if logits.ndim < 2 or not logits.is_floating_point():
            raise BadInput(f"logits are {_describe(logits)}", "wanted floating numbers of shape (N, C, …)")
        if target.shape != voxels or target.is_floating_point() or target.dtype == torch.bool:
            raise BadInput(
                f"target is {_describe(target)}", f"logits {tuple(logits.shape)} want integers {voxels}"
            )
        if phi.shape != voxels or not phi.is_floating_point():
            raise BadInput(f"phi is {_describe(phi)}", f"logits {tuple(logits.shape)} want floating {voxels}")
        if self.weight is not None and self.weight.shape != logits.shape[1:2]:
            raise BadInput(
                f"{self.weight.numel()} class weights",
                f"the logits have {logits.shape[1]} classes",
                "Give one each",
            )


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
