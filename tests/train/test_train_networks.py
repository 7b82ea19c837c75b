from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dmapsvc.errors import BadInput
from dmapsvc.train.names import DIVISORS, NETWORKS, NetworkName, check_patch
from dmapsvc.train.networks import make_network
from dmapsvc.train.vnet import VNet

ANY_WIDTH = [name for name in NETWORKS if name != "monai-vnet"]
NORMALISED = ("monai-unet", "monai-dynunet")  # they refuse a patch that ends as one voxel


def _network(name: NetworkName, **changes: int) -> nn.Module:
    asked: dict[str, Any] = {"channels": 1, "classes": 3, "width": 16 if name == "monai-vnet" else 4}
    return make_network(name, **(asked | changes))


def _smallest(name: NetworkName) -> tuple[int, int, int]:
    """The sides of the smallest patch that it takes."""
    side = DIVISORS[name]
    return (2 * side if name in NORMALISED else side, side, side)


def _image(name: NetworkName, *, channels: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, channels, *_smallest(name), generator=generator)


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_of_the_smallest_patch_and_a_gradient_everywhere(name: NetworkName) -> None:
    check_patch(name, _smallest(name), 2)
    image = _image(name, channels=2)
    net = _network(name, channels=2, classes=5)
    logits = net(image)
    assert logits.shape == (2, 5, *image.shape[2:])
    logits.square().sum().backward()
    assert [name for name, parameter in net.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("name", NORMALISED)
def test_patches_that_are_refused_could_not_be_learnt_from(name: NetworkName) -> None:
    side = DIVISORS[name]
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        _network(name)(torch.randn(2, 1, side, side, side))


def test_a_batch_that_is_refused_could_not_be_learnt_from() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        _network("monai-vnet")(torch.randn(1, 1, 16, 16, 16))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_divisor_is_the_least(name: NetworkName) -> None:
    """Half of it is not enough: the network fails, or its logits have another shape."""
    image = torch.randn(2, 1, 3 * DIVISORS[name] // 2, 2 * DIVISORS[name], 2 * DIVISORS[name])
    try:
        shape = _network(name)(image).shape[2:]
    except (BadInput, RuntimeError):
        return
    assert shape != image.shape[2:]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_seed_decides_the_weights(name: NetworkName) -> None:
    weights = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        weights.append(torch.cat([parameter.flatten() for parameter in _network(name).parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("name", NETWORKS)
def test_channels_last_computes_the_same(name: NetworkName) -> None:
    """Twice as fast on a CPU; what is learnt must not depend on it."""
    net = _network(name).eval()
    image = _image(name)
    expected = net(image)
    net.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # torch does not declare it
    logits = net(image.to(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ANY_WIDTH)
def test_width_is_that_of_the_first_stage(name: NetworkName) -> None:
    net = _network(name, width=6)
    first = next(module for module in net.modules() if isinstance(module, nn.Conv3d))
    assert (first.in_channels, first.out_channels) == (1, 6)


def test_vnet_is_the_original() -> None:
    assert isinstance(_network("vnet"), VNet)


def test_dynunet_stops_at_320_channels_as_nnunet_does() -> None:
    with torch.device("meta"):
        net = _network("monai-dynunet", width=32)
    widest = max(module.out_channels for module in net.modules() if isinstance(module, nn.Conv3d))
    assert widest == 320


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("unet", {}, "network 'unet'; wanted one of vnet"),
        ("vnet", {"width": 0}, "width 0; each must be at least 1"),
        ("monai-unet", {"classes": 0}, "0 classes"),
        ("monai-vnet", {"width": 8}, "width 8; monai-vnet has 16"),
        ("monai-vnet", {"channels": 3}, "3 channels; monai-vnet wants 1, 2, 4, 8 or 16"),
    ],
)
def test_networks_that_cannot_be(name: Any, changes: dict[str, int], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        _network(name, **changes)
