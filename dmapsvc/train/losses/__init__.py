"""What a training minimises: the penalised cross-entropy that Φ is made for, and the losses it is measured
against.

All are called as `loss(logits, target, phi)`, so that one loop trains with any of them. Φ arrives scaled
already (the loader does that, `Region.scaling` says how).
"""

from dmapsvc.train.losses.baselines import ConfidencePenalty, CrossEntropy, Focal, WeightedCrossEntropy
from dmapsvc.train.losses.dice import PenaltyWithDice, SoftDice
from dmapsvc.train.losses.loss import Loss
from dmapsvc.train.losses.making import class_weights, make_loss
from dmapsvc.train.losses.penalty import PenalizedCrossEntropy

__all__ = [
    "ConfidencePenalty",
    "CrossEntropy",
    "Focal",
    "Loss",
    "PenalizedCrossEntropy",
    "PenaltyWithDice",
    "SoftDice",
    "WeightedCrossEntropy",
    "class_weights",
    "make_loss",
]
