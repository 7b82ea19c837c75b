"""Soft Dice, the overlap as a loss, and the penalised cross-entropy beside it."""

from __future__ import annotations

from torch import Tensor

from dmapsvc.loader import IGNORE_INDEX
from dmapsvc.train.losses.loss import Loss
from dmapsvc.train.losses.penalty import PenalizedCrossEntropy


class SoftDice(Loss):
    """Soft Dice, equation 1 of Calivá et al. 2019, which is that of Milletari et al. 2016, as 1 − Dice:

        Dice = 2 · Σ_i p_i · g_i / (Σ_i p_i² + Σ_i g_i²)

    by class, the background too, and by patch; the loss is the mean over both. Probabilities p are the
    softmax, g is 1 for the voxels of the class. It is MONAI's DiceLoss(softmax=True, squared_pred=True), with
    its 1e-5 above and below; ignored voxels are in none of the sums, and a patch without others not in the
    mean.
    """

    def __init__(self, *, ignore_index: int = IGNORE_INDEX) -> None:
        from monai.losses.dice import DiceLoss

        super().__init__(ignore_index=ignore_index)
        self._by_class = DiceLoss(squared_pred=True, reduction="none")

    def compute(self, logits: Tensor, target: Tensor, phi: Tensor) -> Tensor:
        """1 − Dice, the mean over classes and patches."""
        counted = self.counted(target)
        probabilities = logits.softmax(1).masked_fill(~counted.unsqueeze(1), 0)
        by_class: Tensor = self._by_class(probabilities, self.onehot(target, logits))
        by_patch = by_class.flatten(1).mean(1)
        there = counted.flatten(1).any(1)
        return (by_patch * there).sum() / there.sum().clamp(min=1)


class PenaltyWithDice(Loss):
    """Penalised cross-entropy plus soft Dice, one to one.

    Not in the paper: the usual sum of cross-entropy and Dice (nnU-Net's, Isensee et al. 2021), with equation
    2 in the place of the cross-entropy.
    """

    def __init__(self, *, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__(ignore_index=ignore_index)
        self._penalty = PenalizedCrossEntropy(ignore_index=ignore_index)
        self._dice = SoftDice(ignore_index=ignore_index)

    def compute(self, logits: Tensor, target: Tensor, phi: Tensor) -> Tensor:
        """The sum of the two."""
        return self._penalty.compute(logits, target, phi) + self._dice.compute(logits, target, phi)
