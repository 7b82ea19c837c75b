"""Training with the penalty: the loss, the original V-Net, the loop and its checkpoint. Needs torch."""

from dmapsvc.train.checkpoint import Checkpoint
from dmapsvc.train.loop import Step, train
from dmapsvc.train.losses import PenalizedCrossEntropy
from dmapsvc.train.settings import TrainSettings
from dmapsvc.train.vnet import VNet

__all__ = ["Checkpoint", "PenalizedCrossEntropy", "Step", "TrainSettings", "VNet", "train"]
