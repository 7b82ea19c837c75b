"""What the penalty is measured against, voxel by voxel: cross-entropy as it is, weighted by class, focal, and
with a penalty on confidence.

They take Φ as every loss does, and leave it alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from dmapsvc.loader import IGNORE_INDEX
from dmapsvc.train.losses.loss import Loss, check_weights


class CrossEntropy(Loss):
    """Plain cross-entropy, the mean over the voxels of −log p[y]: equation 2 of Calivá et al. with Φ = 0."""

    def compute(self, logits: Tensor, target: Tensor, phi: Tensor) -> Tensor:
        """The mean of −log p[y]."""
        entropy = functional.cross_entropy(logits, target, ignore_index=self.ignore_index, reduction="none")
        return self.mean(entropy, target)


class WeightedCrossEntropy(Loss):
    """Cross-entropy with a weight a class, the weighted log-likelihood.

    L = Σ_i w[y_i] · CE_i / Σ_i w[y_i], divided by the weights' sum as PyTorch does.

    `weights`: one a class; `class_weights` makes them from the numbers of voxels.
    """

    weights: Tensor

    def __init__(self, weights: Sequence[float] | Tensor, *, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__(ignore_index=ignore_index)
        self.register_buffer("weights", torch.as_tensor(weights, dtype=torch.float32))

    def compute(self, logits: Tensor, target: Tensor, phi: Tensor) -> Tensor:
        """The weighted mean of −log p[y]."""
        weights = self.weights.to(logits.dtype)
        entropy = functional.cross_entropy(
            logits, target, weight=weights, ignore_index=self.ignore_index, reduction="sum"
        )
        counted = self.counted(target)
        total = weights[target.masked_fill(~counted, 0)].masked_fill(~counted, 0).sum()
        return entropy / torch.where(total > 0, total, 1)

    def check(self, logits: Tensor, target: Tensor, phi: Tensor) -> None:
        """Raises BadInput if the three do not fit together, or the weights not with the classes."""
        super().check(logits, target, phi)
        check_weights(self.weights, logits)


class Focal(Loss):
    """Focal loss, Lin et al. 2017, equation 4: the mean over the voxels of −(1 − p[y])^γ · log p[y].

    γ = 2 is theirs. The voxels' values are those of MONAI's FocalLoss, in float32; its mean also runs over
    the classes, so that it is C times smaller.
    """

    def __init__(self, *, gamma: float = 2.0, ignore_index: int = IGNORE_INDEX) -> None:
        from monai.losses.focal_loss import FocalLoss

        super().__init__(ignore_index=ignore_index)
        self._by_class = FocalLoss(gamma=gamma, use_softmax=True, reduction="none")

    def compute(self, logits: Tensor, target: Tensor, phi: Tensor) -> Tensor:
        """The mean of −(1 − p[y])^γ · log p[y]."""
        by_class: Tensor = self._by_class(logits, self.onehot(target, logits))
        return self.mean(by_class.sum(1), target)


class ConfidencePenalty(Loss):
    """Cross-entropy that also rewards doubt, Pereyra et al. 2017, section 3: the mean over the voxels of
    CE − β · H(p), with the entropy H(p) = −Σ_c p_c · log p_c of the prediction.

    They choose β task by task; it is 0.1 here.
    """

    def __init__(self, *, beta: float = 0.1, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__(ignore_index=ignore_index)
        self.beta = beta

    def compute(self, logits: Tensor, target: Tensor, phi: Tensor) -> Tensor:
        """The mean of CE − β · H(p)."""
        log = logits.log_softmax(1)
        likelihood = functional.nll_loss(log, target, ignore_index=self.ignore_index, reduction="none")
        doubt = -(log.exp() * log).sum(1)
        return self.mean(likelihood - self.beta * doubt, target)
