"""From a name to the loss, with the values of the papers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dmapsvc.errors import BadInput
from dmapsvc.train.losses.baselines import ConfidencePenalty, CrossEntropy, Focal, WeightedCrossEntropy
from dmapsvc.train.losses.dice import PenaltyWithDice, SoftDice
from dmapsvc.train.losses.loss import Loss
from dmapsvc.train.losses.penalty import PenalizedCrossEntropy
from dmapsvc.train.names import LossName, check_loss

_MAKERS: Mapping[LossName, Callable[[Sequence[int]], Loss]] = {
    "penalty": lambda voxels: PenalizedCrossEntropy(),
    "penalty-dice": lambda voxels: PenaltyWithDice(),
    "cross-entropy": lambda voxels: CrossEntropy(),
    "dice": lambda voxels: SoftDice(),
    "weighted-cross-entropy": lambda voxels: WeightedCrossEntropy(class_weights(voxels)),
    "focal": lambda voxels: Focal(),
    "confidence-penalty": lambda voxels: ConfidencePenalty(),
}


def make_loss(name: LossName, *, voxels: Sequence[int]) -> Loss:
    """The loss called `name`.

    `voxels`: how many the training cases have of each class, the background first; the weighted cross-entropy
    alone uses them. Raises BadInput for another name, and where the weighted cross-entropy finds a class
    without voxels.
    """
    return _MAKERS[check_loss(name)](voxels)


def class_weights(voxels: Sequence[int]) -> tuple[float, ...]:
    """w_c = N / (C · n_c) of the voxels n_c by class, N in all: every class weighs as much as another.

    Raises BadInput if a class has no voxels: it would weigh infinitely much.
    """
    missing = [index for index, count in enumerate(voxels) if count < 1]
    if missing:
        raise BadInput(
            f"no voxels of class {', '.join(map(str, missing))} in the training cases",
            "weights by class want some of each",
            "Choose other training cases or another loss",
        )
    return tuple(sum(voxels) / (len(voxels) * count) for count in voxels)
