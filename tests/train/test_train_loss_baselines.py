"""The baselines against PyTorch, MONAI and their formulas written out."""

from __future__ import annotations

import math

import pytest
import torch
from monai.losses.dice import DiceLoss
from monai.losses.focal_loss import FocalLoss
from scipy import stats
from torch import Tensor
from torch.nn import functional

from dmapsvc.errors import BadInput
from dmapsvc.train.losses import (
    ConfidencePenalty,
    CrossEntropy,
    Focal,
    Loss,
    SoftDice,
    WeightedCrossEntropy,
    class_weights,
    make_loss,
)
from tests.train.loss_cases import case, ignoring, with_gradient

# Four voxels of two classes: the probability of the right one is 1/2, 3/4, 1/4, 1/2, and the last is ignored
# where a test says so.
LOGITS = torch.tensor([[[0.0, math.log(3), 0.0, 0.0], [0.0, 0.0, math.log(3), 0.0]]])
TARGET = torch.tensor([[0, 0, 0, 1]])
PHI = torch.zeros(1, 4)
LN2, LN4, LN43 = math.log(2), math.log(4), math.log(4 / 3)


def _probabilities(logits: Tensor, target: Tensor) -> Tensor:
    """Of the right class, (N, …)."""
    return logits.softmax(1).gather(1, target.unsqueeze(1)).squeeze(1)


@pytest.mark.parametrize(
    ("loss", "by_hand"),
    [
        (CrossEntropy(), (LN2 + LN43 + LN4 + LN2) / 4),
        # the first class weighs 1, the second 3
        (WeightedCrossEntropy([1.0, 3.0]), (LN2 + LN43 + LN4 + 3 * LN2) / 6),
        (Focal(), (LN2 / 4 + LN43 / 16 + LN4 * 9 / 16 + LN2 / 4) / 4),
        # entropies: ln 2 at ½, and ¼ ln 4 + ¾ ln 4/3 at ¼ and ¾
        (
            ConfidencePenalty(beta=0.5),
            (LN2 + LN43 + LN4 + LN2) / 4 - 0.5 * (2 * LN2 + 2 * (LN4 / 4 + LN43 * 3 / 4)) / 4,
        ),
        # class 0: p = ½, ¾, ¼, ½ and g = 1, 1, 1, 0; class 1: p = ½, ¼, ¾, ½ and g = 0, 0, 0, 1
        (SoftDice(), 1 - (2 * 1.5 / (9 / 8 + 3) + 2 * 0.5 / (9 / 8 + 1)) / 2),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Loss) else "",
)
def test_worked_by_hand(loss: Loss, by_hand: float) -> None:
    assert loss(LOGITS, TARGET, PHI).item() == pytest.approx(by_hand, rel=1e-5)


def test_cross_entropy_is_pytorchs() -> None:
    logits, target, phi = case()
    target = ignoring(target, 0, 1)
    torch.testing.assert_close(
        CrossEntropy()(logits, target, phi), functional.cross_entropy(logits, target, ignore_index=-100)
    )


def test_weighted_cross_entropy_is_pytorchs() -> None:
    logits, target, phi = case()
    target = ignoring(target, 0, 1)
    weights = (0.5, 3.0, 1.5)
    torch.testing.assert_close(
        WeightedCrossEntropy(weights)(logits, target, phi),
        functional.cross_entropy(logits, target, weight=torch.tensor(weights), ignore_index=-100),
    )


def test_another_number_of_weights_is_named() -> None:
    with pytest.raises(BadInput, match="3 class weights; the logits have 2 classes"):
        WeightedCrossEntropy([1.0, 1.0, 1.0])(LOGITS, TARGET, PHI)


def test_focal_is_monais_times_the_classes() -> None:
    logits, target, phi = case()
    monai = FocalLoss(gamma=2, use_softmax=True, to_onehot_y=True)(logits, target.unsqueeze(1))
    torch.testing.assert_close(Focal()(logits, target, phi), 3 * monai)


def test_focal_has_the_gradient_of_its_formula() -> None:
    logits, target, phi = case()
    target = ignoring(target, 0, 0)
    counted = target != -100
    value, gradient = with_gradient(Focal(), logits, target, phi)
    exact = logits.double().requires_grad_()
    right = _probabilities(exact, target.clamp(min=0))[counted]
    formula = (-((1 - right) ** 2) * right.log()).mean()
    (expected,) = torch.autograd.grad(formula, exact)
    torch.testing.assert_close(value, formula.detach().float())
    torch.testing.assert_close(gradient, expected.float())


def test_focal_with_gamma_0_is_cross_entropy() -> None:
    arguments = case()
    torch.testing.assert_close(Focal(gamma=0)(*arguments), CrossEntropy()(*arguments))


def test_confidence_penalty_rewards_doubt() -> None:
    logits, target, phi = case()
    sure, unsure = (ConfidencePenalty(beta=5.0)(size * logits, target, phi) for size in (20.0, 0.1))
    assert unsure < sure
    torch.testing.assert_close(
        ConfidencePenalty(beta=0.0)(logits, target, phi), CrossEntropy()(logits, target, phi)
    )


def test_confidence_penalty_takes_a_tenth_of_the_entropy() -> None:
    logits, target, phi = case()
    doubt = stats.entropy(logits.softmax(1).numpy(), axis=1).mean()
    expected = functional.cross_entropy(logits, target).item() - 0.1 * doubt
    assert make_loss("confidence-penalty", voxels=())(logits, target, phi).item() == pytest.approx(expected)


def test_dice_is_monais() -> None:
    logits, target, phi = case()
    monai = DiceLoss(softmax=True, squared_pred=True, to_onehot_y=True)
    torch.testing.assert_close(SoftDice()(logits, target, phi), monai(logits, target.unsqueeze(1)))


def test_dice_of_the_right_answer_is_0_and_of_a_wrong_one_1() -> None:
    right = torch.tensor([[[20.0, 20.0, -20.0], [-20.0, -20.0, 20.0]]])
    target, phi = torch.tensor([[0, 0, 1]]), torch.zeros(1, 3)
    assert SoftDice()(right, target, phi).item() == pytest.approx(0, abs=1e-4)
    assert SoftDice()(-right, target, phi).item() == pytest.approx(1, abs=1e-4)


def test_dice_goes_by_patch() -> None:
    """Two patches of one each: the mean of their losses, not the loss of their voxels together."""
    logits, target, phi = case()
    alone = [SoftDice()(logits[at], target[at], phi[at]) for at in (slice(1), slice(1, None))]
    torch.testing.assert_close(SoftDice()(logits, target, phi), (alone[0] + alone[1]) / 2)


@pytest.mark.parametrize(("logit", "expected"), [(12.0, 0.0), (2.0, 0.5)])
def test_dice_of_a_class_that_the_patch_lacks(logit: float, expected: float) -> None:
    """It adds 0 where it is predicted nowhere, and 1 (of two classes, so a half) where it is at all."""
    logits = torch.stack([torch.full((1, 500), logit), torch.zeros(1, 500)], dim=1)
    target, phi = torch.zeros(1, 500, dtype=torch.int64), torch.zeros(1, 500)
    assert SoftDice()(logits, target, phi).item() == pytest.approx(expected, abs=0.01)


def test_class_weights_make_every_class_weigh_alike() -> None:
    assert class_weights((600, 300, 100)) == (1000 / 1800, 1000 / 900, 1000 / 300)
    made = make_loss("weighted-cross-entropy", voxels=(600, 300, 100))
    assert isinstance(made, WeightedCrossEntropy)
    assert made.weights.tolist() == pytest.approx([5 / 9, 10 / 9, 10 / 3])


def test_a_class_without_voxels_has_no_weight() -> None:
    with pytest.raises(BadInput, match="no voxels of class 1, 3 in the training cases"):
        make_loss("weighted-cross-entropy", voxels=(5, 0, 1, 0))


def test_another_name_is_told_the_names() -> None:
    with pytest.raises(BadInput, match="loss 'tversky'; wanted one of penalty, penalty-dice"):
        make_loss("tversky", voxels=())  # type: ignore[arg-type]
