from __future__ import annotations

import pytest
import torch
from torch import nn

from dmapsvc.errors import BadInput
from dmapsvc.train.vnet import VNet

# The authors' Caffe network, read off train_noPooling_ResNet_cinque.prototxt: input and output channels of
# each layer.
CONV5 = [
    *[(1, 16), (32, 32), (64, 64), (64, 64), (128, 128), (128, 128), (128, 128)],
    *[(256, 256), (256, 256), (256, 256)],
    *[(256, 256), (256, 256), (256, 256), (128, 128), (128, 128), (64, 64), (32, 32), (32, 2)],
]
DOWN = [(16, 32), (32, 64), (64, 128), (128, 256)]
UP = [(256, 128), (256, 64), (128, 32), (64, 16)]
PARAMETERS = (
    sum(125 * a * b + b for a, b in CONV5)
    + sum(8 * a * b + b for a, b in DOWN + UP)
    + (2 * 2 + 2)  # the 1³ convolution
    + sum(b for _, b in CONV5 + DOWN + UP)  # one PReLU slope a channel, after every layer but the last
)


def _original() -> VNet:
    with torch.device("meta"):
        return VNet(in_channels=1, classes=2, width=16)


def _layers(kind: type[nn.Conv3d] | type[nn.ConvTranspose3d], side: int) -> list[tuple[int, int]]:
    """Channels in and out of every layer of a kind and kernel, in the order of the network."""
    layers = [module for module in _original().modules() if isinstance(module, kind)]
    return [(layer.in_channels, layer.out_channels) for layer in layers if layer.kernel_size == (side,) * 3]


def test_layers_and_parameters_are_the_authors() -> None:
    assert len(CONV5) == 18
    assert _layers(nn.Conv3d, 5) == CONV5
    assert _layers(nn.Conv3d, 2) == DOWN
    assert _layers(nn.Conv3d, 1) == [(2, 2)]
    assert _layers(nn.ConvTranspose3d, 2) == UP
    assert sum(parameter.numel() for parameter in _original().parameters()) == PARAMETERS == 61_982_682


def test_sides_are_halved_by_strides_alone() -> None:
    strided = [m for m in _original().modules() if isinstance(m, nn.Conv3d) and m.stride != (1, 1, 1)]
    assert [(m.kernel_size, m.stride) for m in strided] == [((2, 2, 2), (2, 2, 2))] * 4


def test_no_normalisation_and_every_convolution_has_a_bias() -> None:
    kinds = {type(m) for m in _original().modules() if not list(m.children())}
    assert kinds == {nn.Conv3d, nn.ConvTranspose3d, nn.PReLU}
    assert all(
        m.bias is not None for m in _original().modules() if isinstance(m, nn.Conv3d | nn.ConvTranspose3d)
    )


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_logits_have_the_images_shape(channels: int) -> None:
    net = VNet(in_channels=channels, classes=4, width=2)
    assert net(torch.randn(2, channels, 16, 32, 48)).shape == (2, 4, 16, 32, 48)


def test_first_stage_adds_the_image_to_every_channel() -> None:
    net = VNet(in_channels=1, classes=2, width=3)
    nn.init.zeros_(net.entry.weight)
    image = torch.rand(1, 1, 16, 16, 16)
    seen: list[torch.Tensor] = []
    net.entry_activation.register_forward_hook(lambda *call: seen.append(call[2]))
    net(image)
    assert torch.equal(seen[0], image.expand(1, 3, 16, 16, 16))


@pytest.mark.parametrize("stage", ["down.0.stage", "down.3.stage", "up.0.stage", "up.3.stage"])
def test_residual_stages_pass_their_input_on(stage: str) -> None:
    part = VNet(width=2).get_submodule(stage)
    convs = [module for module in part.modules() if isinstance(module, nn.Conv3d)]
    for conv in convs:
        nn.init.zeros_(conv.weight)
    features = torch.rand(1, convs[0].in_channels, 4, 4, 4)  # above 0, where PReLU is the identity
    assert torch.equal(part(features), features)


def test_every_parameter_gets_a_gradient() -> None:
    net = VNet(in_channels=1, classes=3, width=2)
    net(torch.randn(1, 1, 16, 16, 16)).square().sum().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("shape", [(1, 1, 16, 24, 16), (1, 1, 0, 16, 16), (1, 16, 16, 16)])
def test_other_sides_than_multiples_of_16_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match="multiple of 16"):
        VNet(width=1)(torch.zeros(shape))


def test_a_width_below_1_is_refused() -> None:
    with pytest.raises(BadInput, match="width 0"):
        VNet(width=0)


@pytest.mark.parametrize(("stages", "extent"), [(1, 14), (2, 48)])
def test_receptive_field_on_the_way_down(stages: int, extent: int) -> None:
    """As the docstring's table has it: so many voxels of the image reach one voxel of a stage."""
    net = VNet(width=1)
    for parameter in net.parameters():
        nn.init.constant_(parameter, 0.1)
    image = torch.zeros(1, 1, 64, 64, 64, requires_grad=True)
    features = net.entry_activation(net.entry(image))
    for stage in list(net.down)[:stages]:
        features = stage(features)
    middle = features.shape[-1] // 2
    (gradient,) = torch.autograd.grad(features[0, 0, middle, middle, middle], image)
    reached = gradient[0, 0] != 0
    assert [int(reached.any(dim=axes).sum()) for axes in ((1, 2), (0, 2), (0, 1))] == [extent] * 3


def test_channels_last_learns_the_same() -> None:
    """Training loops take it, since it is twice as fast on a CPU."""
    gradients = []
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        torch.manual_seed(1)
        net = VNet(width=2)
        net.to(memory_format=layout)  # type: ignore[call-overload]  # torch does not declare it
        net(torch.rand(1, 1, 16, 16, 32).to(memory_format=layout)).square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-5)
