"""A network that learns: one batch, one gradient, one step of Adam at the rate of the schedule.

Where batches come from, how many there are, and what is saved is the loop's affair.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dmapsvc.errors import Diverged
from dmapsvc.loader import Batch
from dmapsvc.train.losses import Loss
from dmapsvc.train.networks import memory_format, placed
from dmapsvc.train.parallel import Group
from dmapsvc.train.precision import MixedPrecision
from dmapsvc.train.settings import TrainSettings


class Learner:
    """`net`, moved to the group's device, learns to make `loss` small.

    Every random number that a network may draw (dropout) is decided by the seed, the step and the process:
    nothing of a generator's state has to be kept to go on.
    """

    def __init__(self, settings: TrainSettings, net: nn.Module, loss: Loss, group: Group) -> None:
        self._settings, self._group = settings, group
        self.precision = MixedPrecision.of(settings.precision, group.device)
        self._format = memory_format(group.device)
        self.net = placed(net, group.device)
        self._joined = group.joined(self.net)
        self._loss = loss.to(group.device)
        self._optimizer = torch.optim.Adam(self.net.parameters(), lr=settings.lr, fused=True)
        self._scaler = self.precision.scaler()

    def rate(self, step: int) -> float:
        """The learning rate of step number `step`, from 1."""
        settings = self._settings
        if settings.schedule == "constant":
            return settings.lr
        return settings.lr * (1 + math.cos(math.pi * (step - 1) / settings.steps)) / 2

    def find_gradient(self, batch: Batch, step: int) -> float:
        """The loss of `batch`, mean over the processes, with its gradient; `take_step` then goes along it.

        Raises Diverged if the loss is not finite.
        """
        self._net_draws(step)
        self._optimizer.zero_grad(set_to_none=True)
        with self.precision.autocast():
            logits = self._joined(batch["image"].contiguous(memory_format=self._format))
        loss: Tensor = self._loss(logits, batch["label"], batch["phi"])
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        value = float(self._group.total(loss.detach()).item()) / self._group.world
        if not math.isfinite(value):
            wider = "precision float32, " if self.precision.dtype == torch.float16 else ""
            raise Diverged(
                f"the loss is {value} at step {step}",
                "a finite loss is needed to go on",
                f"Take {wider}another seed, a smaller lr than {self._settings.lr:g}, or scale region",
            )
        return value

    def take_step(self, step: int) -> None:
        """Adam's step number `step`, from 1; left out where float16 gradients overflowed."""
        for parameters in self._optimizer.param_groups:
            parameters["lr"] = self.rate(step)
        self._scaler.step(self._optimizer)
        self._scaler.update()

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """What a checkpoint keeps: `model`, `optimizer` and `scaler`."""
        return {
            "model": self.net.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
        }

    def load_state_dict(self, optimizer: Mapping[str, Any], scaler: Mapping[str, Any]) -> None:
        """Go on with an optimiser and a scaler as they were; the network has its weights already."""
        self._optimizer.load_state_dict(dict(optimizer))
        if scaler:  # there is none of a run that calculated in wider numbers, on another device, so far
            self._scaler.load_state_dict(dict(scaler))

    def _net_draws(self, step: int) -> None:
        numbers = np.random.SeedSequence((self._settings.seed, step, self._group.rank))
        torch.manual_seed(int(numbers.generate_state(1, np.uint64)[0]) >> 1)
