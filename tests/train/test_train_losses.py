from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from dmapsvc.errors import BadInput
from dmapsvc.train.losses import PenalizedCrossEntropy


def _case(
    *, classes: int = 3, dtype: torch.dtype = torch.float32, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, 4, 3, 5, generator=generator, dtype=torch.float64).to(dtype)
    target = torch.randint(0, classes, (2, 4, 3, 5), generator=generator)
    phi = torch.rand(2, 4, 3, 5, generator=generator, dtype=torch.float64)
    return logits, target, phi.to(torch.float64 if dtype == torch.float64 else torch.float32)


def test_equation_2_worked_by_hand() -> None:
    # A 2×2×1 volume of two classes. Logit differences d of the wrong over the right class give CE = ln(1 +
    # e^d): ln 2 for equal logits, ln(4/3) for d = −ln 3, ln 4 for d = +ln 3.
    ln3 = math.log(3)
    logits = torch.tensor([[[[[0.0], [ln3]], [[0.0], [0.0]]], [[[0.0], [0.0]], [[ln3], [0.0]]]]])
    target = torch.tensor([[[[0], [0]], [[0], [1]]]])
    phi = torch.tensor([[[[0.0], [3.0]], [[0.5], [1.0]]]])
    by_hand = (1 * math.log(2) + 4 * math.log(4 / 3) + 1.5 * math.log(4) + 2 * math.log(2)) / 4
    assert PenalizedCrossEntropy()(logits, target, phi).item() == pytest.approx(by_hand, rel=1e-6)


def test_phi_is_applied() -> None:
    """The bug of the copied public versions: a penalty that is loaded and never multiplied in."""
    logits, target, phi = _case()
    loss = PenalizedCrossEntropy()
    plain = functional.cross_entropy(logits, target)
    assert loss(logits, target, torch.zeros_like(phi)).item() == pytest.approx(plain.item(), rel=1e-6)
    assert loss(logits, target, torch.ones_like(phi)).item() == pytest.approx(2 * plain.item(), rel=1e-6)
    one_voxel = torch.zeros_like(phi)
    one_voxel[1, 2, 1, 3] = 60.0
    entropy = functional.cross_entropy(logits, target, reduction="none")[1, 2, 1, 3]
    expected = plain + 60 * entropy / target.numel()
    assert loss(logits, target, one_voxel).item() == pytest.approx(expected.item(), rel=1e-5)


def test_gradient_agrees_with_finite_differences() -> None:
    logits, target, phi = _case(dtype=torch.float64)
    target[0, 0] = -100
    loss = PenalizedCrossEntropy(weight=[1.0, 2.0, 0.5])
    assert torch.autograd.gradcheck(lambda x: loss(x, target, phi), (logits.requires_grad_(),))


def test_ignored_voxels_count_neither_above_nor_below() -> None:
    logits, target, phi = _case()
    loss = PenalizedCrossEntropy()
    half = target.clone()
    half[1] = -100
    nonsense = phi.clone()
    nonsense[1] = torch.nan
    logits.requires_grad_()
    ignored = loss(logits, half, nonsense)
    (gradient,) = torch.autograd.grad(ignored, logits)
    assert ignored.item() == pytest.approx(loss(logits[:1], target[:1], phi[:1]).item(), rel=1e-6)
    assert not gradient[1].any()
    assert gradient[0].any()


def test_nothing_to_count_is_zero_with_zero_gradient() -> None:
    logits, target, phi = _case()
    logits.requires_grad_()
    value = PenalizedCrossEntropy(ignore_index=7)(logits, torch.full_like(target, 7), phi)
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.item() == 0
    assert torch.equal(gradient, torch.zeros_like(logits))


def test_class_weights_multiply_and_are_not_divided_out() -> None:
    logits, target, phi = _case()
    doubled = PenalizedCrossEntropy(weight=[2.0, 2.0, 2.0])(logits, target, phi)
    assert doubled.item() == pytest.approx(2 * PenalizedCrossEntropy()(logits, target, phi).item(), rel=1e-6)
    only_class_1 = PenalizedCrossEntropy(weight=torch.tensor([0.0, 1.0, 0.0]))(logits, target, phi)
    entropy = functional.cross_entropy(logits, target, reduction="none")
    expected = ((1 + phi) * entropy)[target == 1].sum() / target.numel()
    assert only_class_1.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int8])
def test_labels_of_any_integer_type_give_the_same_loss(dtype: torch.dtype) -> None:
    logits, target, phi = _case()
    target[0, 0] = -100
    loss = PenalizedCrossEntropy()
    assert torch.equal(loss(logits, target.to(dtype), phi), loss(logits, target, phi))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_equals_float32_of_the_same_logits_even_huge(dtype: torch.dtype) -> None:
    logits, target, phi = _case()
    half = (logits * 20_000).to(
        dtype
    )  # e^20000 overflows everything; so would a sum of such losses in float16
    half.requires_grad_()
    single = half.detach().float().requires_grad_()
    loss = PenalizedCrossEntropy()
    low, high = loss(half, target, 200 * phi), loss(single, target, 200 * phi)
    assert low.dtype == torch.float32
    assert torch.isfinite(low)
    assert low.item() == pytest.approx(high.item(), rel=1e-6)
    low.backward()
    high.backward()
    assert half.grad is not None
    assert single.grad is not None
    torch.testing.assert_close(half.grad.float(), single.grad, rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize(
    ("logits", "target", "phi", "says"),
    [
        (
            torch.zeros(1, 2, 3, dtype=torch.int64),
            torch.zeros(1, 3).long(),
            torch.zeros(1, 3),
            "logits are int64",
        ),
        (torch.zeros(1, 2, 3), torch.zeros(1, 4).long(), torch.zeros(1, 3), r"target is int64 \(1, 4\)"),
        (torch.zeros(1, 2, 3), torch.zeros(1, 3), torch.zeros(1, 3), "target is float32"),
        (torch.zeros(1, 2, 3), torch.zeros(1, 3).bool(), torch.zeros(1, 3), "target is bool"),
        (torch.zeros(1, 2, 3), torch.zeros(1, 3).long(), torch.zeros(1, 1, 3), r"phi is float32 \(1, 1, 3\)"),
        (torch.zeros(1, 2, 3), torch.zeros(1, 3).long(), torch.zeros(1, 3).int(), "phi is int32"),
        (torch.zeros(1, 4, 3), torch.zeros(1, 3).long(), torch.zeros(1, 3), "2 class weights"),
    ],
)
def test_what_does_not_fit_together_is_named(logits: Tensor, target: Tensor, phi: Tensor, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        PenalizedCrossEntropy(weight=[1.0, 1.0])(logits, target, phi)
