"""The loss that Φ is made for: cross-entropy, voxel by voxel, weighted with 1 + Φ."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from dmapsvc.loader import IGNORE_INDEX
from dmapsvc.train.losses.loss import Loss, check_weights


class PenalizedCrossEntropy(Loss):
    """Cross-entropy penalised with a distance map, equation 2 of Calivá et al. 2019.

    For logits of N voxels with target classes y and maps Φ,

        L = 1/N · Σ_i (1 + Φ_i) · CE_i,    CE_i = −w[y_i] · log softmax(logits_i)[y_i]

    The sum runs over the voxels that are not ignored and N is their number: the mean is divided neither by
    the sum of 1 + Φ nor by that of the class weights, so a larger penalty is a larger loss.

    `weight` is one factor w a class; the paper has none.
    """

    weight: Tensor | None

    def __init__(
        self, *, ignore_index: int = IGNORE_INDEX, weight: Sequence[float] | Tensor | None = None
    ) -> None:
        super().__init__(ignore_index=ignore_index)
        self.register_buffer(
            "weight", None if weight is None else torch.as_tensor(weight, dtype=torch.float32)
        )

    def compute(self, logits: Tensor, target: Tensor, phi: Tensor) -> Tensor:
        """Equation 2."""
        weight = None if self.weight is None else self.weight.to(logits.dtype)
        entropy = functional.cross_entropy(
            logits, target, weight=weight, ignore_index=self.ignore_index, reduction="none"
        )
        known = phi.masked_fill(~self.counted(target), 0)  # NaN there would be in the gradient
        return self.mean((1 + known) * entropy, target)

    def check(self, logits: Tensor, target: Tensor, phi: Tensor) -> None:
        """Raises BadInput if the three do not fit together, or the weights not with the classes."""
        super().check(logits, target, phi)
        if self.weight is not None:
            check_weights(self.weight, logits)
