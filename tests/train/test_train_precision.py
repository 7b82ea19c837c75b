"""How wide numbers are, and what float16 needs beside them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from dmapsvc.errors import Diverged
from dmapsvc.loader import Batch
from dmapsvc.store import Dataset
from dmapsvc.train.learner import Learner
from dmapsvc.train.losses import CrossEntropy
from dmapsvc.train.parallel import Group
from dmapsvc.train.precision import MixedPrecision
from dmapsvc.train.settings import Precision
from tests.train.train_runs import tiny

_CPU = torch.device("cpu")
_ALONE = Group(rank=0, world=1, device=_CPU)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("auto", torch.float32),
        ("float32", torch.float32),
        ("bfloat16", torch.bfloat16),
        ("float16", torch.float16),
    ],
)
def test_networks_calculate_in_the_type_asked_for(name: Precision, dtype: torch.dtype) -> None:
    precision = MixedPrecision.of(name, _CPU)
    with precision.autocast():
        assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype
    assert precision.name == str(dtype).removeprefix("torch.")
    assert precision.narrow == (None if dtype == torch.float32 else dtype)
    assert precision.scaler().is_enabled() == (dtype == torch.float16)


@pytest.mark.gpu
def test_auto_is_narrow_on_cuda() -> None:
    precision = MixedPrecision.of("auto", torch.device("cuda"))
    assert precision.dtype in (torch.bfloat16, torch.float16)


class _Scaled(nn.Module):
    """One weight for all voxels of two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([image * self.weight, -image * self.weight], dim=1)


def _learner(dataset: Dataset, precision: Precision) -> tuple[Learner, _Scaled]:
    net = _Scaled()
    return Learner(tiny(dataset, precision=precision, lr=0.1), net, CrossEntropy(), _ALONE), net


def _batch(image: float = 1.0) -> Batch:
    return Batch(
        image=torch.full((1, 1, 2, 2, 2), image),
        label=torch.zeros(1, 2, 2, 2, dtype=torch.int16),
        phi=torch.zeros(1, 2, 2, 2),
        maxima=torch.zeros(1, 2),
        means=torch.zeros(1, 2),
        corner=torch.zeros(1, 3, dtype=torch.int64),
        case=["a"],
    )


def test_a_float16_gradient_that_overflows_is_a_step_left_out(dataset: Dataset) -> None:
    learner, net = _learner(dataset, "float16")
    overflow = net.weight.register_hook(lambda gradient: gradient * math.inf)  # type: ignore[no-untyped-call]
    assert math.isfinite(learner.find_gradient(_batch(), 1))
    learner.take_step(1)
    assert net.weight.item() == 1.0
    scale = learner.state_dict()["scaler"]["scale"]
    overflow.remove()
    learner.find_gradient(_batch(), 2)
    learner.take_step(2)
    assert net.weight.item() == pytest.approx(1.1, abs=1e-5)  # Adam's first step is lr, whatever the scale
    assert learner.state_dict()["scaler"]["scale"] == scale == 2**15


@pytest.mark.parametrize(
    ("precision", "remedy"),
    [("float32", "Take another seed"), ("float16", "Take precision float32, another seed")],
)
def test_a_loss_that_is_not_finite_is_an_error_at_any_precision(
    dataset: Dataset, precision: Precision, remedy: str
) -> None:
    learner, _ = _learner(dataset, precision)
    with pytest.raises(Diverged, match=rf"the loss is (nan|inf) at step 3; .*{remedy}, a smaller lr"):
        learner.find_gradient(_batch(math.inf), 3)


@pytest.mark.parametrize(("before", "after"), [("float32", "float16"), ("float16", "float32")])
def test_what_another_precision_learnt_is_gone_on_with(
    dataset: Dataset, before: Precision, after: Precision
) -> None:
    """As `auto` on a machine with another device asks for."""
    earlier, net = _learner(dataset, before)
    earlier.find_gradient(_batch(), 1)
    earlier.take_step(1)
    state = earlier.state_dict()
    learner, going = _learner(dataset, after)
    going.load_state_dict(net.state_dict())
    learner.load_state_dict(state["optimizer"], state["scaler"])
    assert math.isfinite(learner.find_gradient(_batch(), 2))
    learner.take_step(2)
    [adam] = learner.state_dict()["optimizer"]["state"].values()
    assert float(adam["step"]) >= 1


def test_the_rate_of_a_cosine_goes_from_the_whole_to_none(dataset: Dataset) -> None:
    settings = tiny(dataset, schedule="cosine", lr=0.2, steps=10)
    learner = Learner(settings, _Scaled(), CrossEntropy(), _ALONE)
    rates = [learner.rate(step) for step in range(1, 11)]
    assert rates[0] == 0.2
    assert rates[5] == pytest.approx(0.1)
    assert 0 < rates[-1] < 0.01
    assert rates == sorted(rates, reverse=True)
    assert learner.rate(11) == pytest.approx(0)
