"""What holds for every loss, whatever its formula."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dmapsvc.errors import BadInput
from dmapsvc.train.losses import Loss, make_loss
from dmapsvc.train.names import LOSSES, LossName
from tests.train.loss_cases import VOXELS, case, ignoring, with_gradient

PENALISED = ("penalty", "penalty-dice")
IN_FLOAT64 = [name for name in LOSSES if name != "focal"]  # which MONAI takes to float32


@pytest.fixture(params=LOSSES)
def name(request: pytest.FixtureRequest) -> LossName:
    asked: LossName = request.param
    return asked


@pytest.fixture
def loss(name: LossName) -> Loss:
    return make_loss(name, voxels=VOXELS)


def test_a_positive_scalar_in_float32(loss: Loss) -> None:
    value = loss(*case())
    assert value.shape == ()
    assert value.dtype == torch.float32
    assert value > 0


@pytest.mark.parametrize("name", IN_FLOAT64)
def test_gradient_agrees_with_finite_differences(loss: Loss) -> None:
    logits, target, phi = case(dtype=torch.float64)
    target = ignoring(target, 0, 0)
    assert torch.autograd.gradcheck(lambda x: loss(x, target, phi), (logits.requires_grad_(),))


def test_a_step_against_the_gradient_lowers_it(loss: Loss) -> None:
    logits, target, phi = case()
    value, gradient = with_gradient(loss, logits, target, phi)
    assert loss(logits - 0.1 * gradient, target, phi) < value


def test_phi_counts_in_the_penalised_ones_alone(loss: Loss, name: LossName) -> None:
    """The bug of the copied public versions: a penalty that is loaded and never multiplied in."""
    logits, target, phi = case()
    (value, gradient), (other, changed) = (
        with_gradient(loss, logits, target, map_) for map_ in (phi, 3 * phi)
    )
    assert torch.equal(value, other) is (name not in PENALISED)
    assert torch.equal(gradient, changed) is (name not in PENALISED)


@pytest.mark.parametrize("places", [(1,), (slice(None), slice(2, None))], ids=["a patch", "half of each"])
def test_ignored_voxels_are_as_if_they_were_not_there(loss: Loss, places: tuple[int | slice, ...]) -> None:
    logits, target, phi = case()
    nonsense = phi.clone()
    nonsense[places] = torch.nan
    value, gradient = with_gradient(loss, logits, ignoring(target, *places), nonsense)
    kept = (slice(1),) if places == (1,) else (slice(None), slice(None, 2))
    of_voxels = (kept[0], slice(None), *kept[1:])
    alone, by_the_kept = with_gradient(loss, logits[of_voxels], target[kept], phi[kept])
    torch.testing.assert_close(value, alone)
    torch.testing.assert_close(gradient[of_voxels], by_the_kept)
    assert gradient.count_nonzero() == by_the_kept.count_nonzero()


def test_nothing_to_count_is_zero_with_zero_gradient(loss: Loss) -> None:
    logits, target, phi = case()
    value, gradient = with_gradient(loss, logits, ignoring(target, slice(None)), phi)
    assert value == 0
    assert torch.equal(gradient, torch.zeros_like(logits))


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int16, torch.int32])
def test_labels_of_any_integer_type_give_the_same_loss(loss: Loss, dtype: torch.dtype) -> None:
    logits, target, phi = case()
    if dtype.is_signed:
        target = ignoring(target, 0, 0)
    assert torch.equal(loss(logits, target.to(dtype), phi), loss(logits, target, phi))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [1, 20_000])  # e^20000 overflows everything
def test_half_precision_equals_float32_of_the_same_logits(loss: Loss, dtype: torch.dtype, size: int) -> None:
    logits, target, phi = case()
    half = (logits * size).to(dtype)
    low, narrow = with_gradient(loss, half, target, 200 * phi)
    high, wide = with_gradient(loss, half.float(), target, 200 * phi)
    assert low.dtype == torch.float32
    assert torch.isfinite(low)
    torch.testing.assert_close(low, high, rtol=1e-6, atol=0)
    torch.testing.assert_close(narrow.float(), wide, rtol=1e-2, atol=1e-6)


def test_autocast_changes_nothing(loss: Loss) -> None:
    logits, target, phi = case(dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        within = loss(logits, target, phi)
    assert torch.equal(within, loss(logits, target, phi))


def test_channels_last_changes_nothing(loss: Loss) -> None:
    logits, target, phi = case()
    turned = logits.contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(loss(turned, target, phi), loss(logits, target, phi))


def test_no_weights_to_learn(loss: Loss) -> None:
    assert list(loss.parameters()) == []


ONE, TWO = torch.zeros(1, 2, 3), torch.zeros(1, 3)


@pytest.mark.parametrize(
    ("logits", "target", "phi", "says"),
    [
        (ONE.long(), TWO.long(), TWO, "logits are int64"),
        (torch.zeros(3), TWO.long(), TWO, r"logits are float32 \(3,\)"),
        (ONE, torch.zeros(1, 4).long(), TWO, r"target is int64 \(1, 4\)"),
        (ONE, TWO, TWO, "target is float32"),
        (ONE, TWO.bool(), TWO, "target is bool"),
        (ONE, TWO.long(), torch.zeros(1, 1, 3), r"phi is float32 \(1, 1, 3\)"),
        (ONE, TWO.long(), TWO.int(), "phi is int32"),
    ],
)
def test_what_does_not_fit_together_is_named(
    name: LossName, logits: Tensor, target: Tensor, phi: Tensor, says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        make_loss(name, voxels=(3, 3))(logits, target, phi)
