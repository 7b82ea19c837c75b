"""Equation 2, and its sum with Dice."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from dmapsvc.errors import BadInput
from dmapsvc.train.losses import PenalizedCrossEntropy, PenaltyWithDice, SoftDice
from tests.train.loss_cases import case, ignoring


def test_equation_2_worked_by_hand() -> None:
    # A 2×2×1 volume of two classes. Logit differences d of the wrong over the right class give CE = ln(1 +
    # e^d): ln 2 for equal logits, ln(4/3) for d = −ln 3, ln 4 for d = +ln 3.
    ln3 = math.log(3)
    logits = torch.tensor([[[[[0.0], [ln3]], [[0.0], [0.0]]], [[[0.0], [0.0]], [[ln3], [0.0]]]]])
    target = torch.tensor([[[[0], [0]], [[0], [1]]]])
    phi = torch.tensor([[[[0.0], [3.0]], [[0.5], [1.0]]]])
    by_hand = (1 * math.log(2) + 4 * math.log(4 / 3) + 1.5 * math.log(4) + 2 * math.log(2)) / 4
    assert PenalizedCrossEntropy()(logits, target, phi).item() == pytest.approx(by_hand, rel=1e-6)


def test_the_gradient_worked_by_hand() -> None:
    """At equal logits p is ½ for both classes: (1 + Φ) · (p − y) / N in every voxel."""
    logits = torch.zeros(1, 2, 2, 2, 1, requires_grad=True)
    target = torch.tensor([[[[0], [0]], [[1], [-100]]]])
    phi = torch.tensor([[[[0.0], [3.0]], [[0.5], [9.0]]]])
    PenalizedCrossEntropy()(logits, target, phi).backward()
    first = torch.tensor([[[[-0.5], [-2.0]], [[0.75], [0.0]]]]) / 3
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.stack([first, -first], dim=1))


def test_phi_is_applied_where_it_is() -> None:
    logits, target, phi = case()
    loss = PenalizedCrossEntropy()
    plain = functional.cross_entropy(logits, target)
    assert loss(logits, target, torch.zeros_like(phi)).item() == pytest.approx(plain.item(), rel=1e-6)
    assert loss(logits, target, torch.ones_like(phi)).item() == pytest.approx(2 * plain.item(), rel=1e-6)
    one_voxel = torch.zeros_like(phi)
    one_voxel[1, 2, 1, 3] = 60.0
    entropy = functional.cross_entropy(logits, target, reduction="none")[1, 2, 1, 3]
    expected = plain + 60 * entropy / target.numel()
    assert loss(logits, target, one_voxel).item() == pytest.approx(expected.item(), rel=1e-5)


@given(seed=st.integers(0, 1000), factor=st.floats(0, 300), added=st.floats(0, 300))
def test_the_penalty_is_linear_in_phi(seed: int, factor: float, added: float) -> None:
    """L(a·Φ + b) = a · L(Φ) + (1 + b − a) · L(0): it is a weight, divided by nothing that it is part of."""
    logits, target, phi = case(dtype=torch.float64, seed=seed)
    loss = PenalizedCrossEntropy()
    zero = loss(logits, target, torch.zeros_like(phi))
    expected = factor * loss(logits, target, phi) + (1 + added - factor) * zero
    torch.testing.assert_close(loss(logits, target, factor * phi + added), expected)


def test_class_weights_multiply_and_are_not_divided_out() -> None:
    logits, target, phi = case()
    doubled = PenalizedCrossEntropy(weight=[2.0, 2.0, 2.0])(logits, target, phi)
    assert doubled.item() == pytest.approx(2 * PenalizedCrossEntropy()(logits, target, phi).item(), rel=1e-6)
    only_class_1 = PenalizedCrossEntropy(weight=torch.tensor([0.0, 1.0, 0.0]))(logits, target, phi)
    entropy = functional.cross_entropy(logits, target, reduction="none")
    expected = ((1 + phi) * entropy)[target == 1].sum() / target.numel()
    assert only_class_1.item() == pytest.approx(expected.item(), rel=1e-6)


def test_class_weights_have_the_right_gradient() -> None:
    logits, target, phi = case(dtype=torch.float64)
    loss = PenalizedCrossEntropy(weight=[1.0, 2.0, 0.5])
    assert torch.autograd.gradcheck(lambda x: loss(x, target, phi), (logits.requires_grad_(),))


def test_another_number_of_class_weights_is_named() -> None:
    logits, target, phi = case(classes=4)
    with pytest.raises(BadInput, match="2 class weights; the logits have 4 classes"):
        PenalizedCrossEntropy(weight=[1.0, 1.0])(logits, target, phi)


@pytest.mark.parametrize("ignored", [1, 255])
def test_another_index_can_be_ignored(ignored: int) -> None:
    logits, target, phi = case()
    there = target == 1
    ours = PenalizedCrossEntropy(ignore_index=ignored)(logits, target.masked_fill(there, ignored), phi)
    usual = PenalizedCrossEntropy()(logits, target.masked_fill(there, -100), phi)
    assert torch.equal(ours, usual)


def test_with_dice_it_is_the_sum_of_both() -> None:
    logits, target, phi = case()
    target = ignoring(target, 1, 2)
    penalty, dice = PenalizedCrossEntropy()(logits, target, phi), SoftDice()(logits, target, phi)
    torch.testing.assert_close(PenaltyWithDice()(logits, target, phi), penalty + dice)
