"""Training with the penalty: the losses, the networks, the loop and its checkpoint.

Names and settings need no torch; what is named here does, and is imported when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dmapsvc.train.checkpoint import Checkpoint
    from dmapsvc.train.loop import train
    from dmapsvc.train.losses import PenalizedCrossEntropy, make_loss
    from dmapsvc.train.networks import make_network
    from dmapsvc.train.progress import Start, Step
    from dmapsvc.train.runfolder import RunFolder
    from dmapsvc.train.settings import TrainSettings
    from dmapsvc.train.vnet import VNet

__all__ = [
    "Checkpoint",
    "PenalizedCrossEntropy",
    "RunFolder",
    "Start",
    "Step",
    "TrainSettings",
    "VNet",
    "make_loss",
    "make_network",
    "train",
]

_HOMES = {
    "Checkpoint": "dmapsvc.train.checkpoint",
    "PenalizedCrossEntropy": "dmapsvc.train.losses",
    "RunFolder": "dmapsvc.train.runfolder",
    "Start": "dmapsvc.train.progress",
    "Step": "dmapsvc.train.progress",
    "TrainSettings": "dmapsvc.train.settings",
    "VNet": "dmapsvc.train.vnet",
    "make_loss": "dmapsvc.train.losses",
    "make_network": "dmapsvc.train.networks",
    "train": "dmapsvc.train.loop",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
