"""Logits, targets and maps that the tests of losses share."""

from __future__ import annotations

import torch
from torch import Tensor

from dmapsvc.loader import IGNORE_INDEX
from dmapsvc.train.losses import Loss

VOXELS = (50, 20, 50)  # of three classes, for the loss that wants them


def case(
    *, classes: int = 3, dtype: torch.dtype = torch.float32, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, target and Φ of two patches of 4×3×5 voxels."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, 4, 3, 5, generator=generator, dtype=torch.float64).to(dtype)
    target = torch.randint(0, classes, (2, 4, 3, 5), generator=generator)
    phi = torch.rand(2, 4, 3, 5, generator=generator, dtype=torch.float64)
    return logits, target, phi.to(torch.float64 if dtype == torch.float64 else torch.float32)


def ignoring(target: Tensor, *places: int | slice) -> Tensor:
    """`target` with the voxels at `places` ignored."""
    changed = target.clone()
    changed[places] = IGNORE_INDEX
    return changed


def with_gradient(loss: Loss, logits: Tensor, target: Tensor, phi: Tensor) -> tuple[Tensor, Tensor]:
    """The loss and its gradient at the logits."""
    logits = logits.detach().requires_grad_()
    value = loss(logits, target, phi)
    (gradient,) = torch.autograd.grad(value, logits)
    return value.detach(), gradient
