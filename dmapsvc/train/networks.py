"""From a name to the network: the original V-Net, and MONAI's where those are wanted.

| name | network |
|---|---|
| `vnet` | Milletari et al. 2016 as its authors published it: `vnet.py` |
| `monai-vnet` | another than that: ELU, batch normalisation, dropout 0.5, no biases; always 16 wide |
| `monai-unet` | two residual units a stage, instance normalisation, PReLU; four stages |
| `monai-dynunet` | nnU-Net's (Isensee et al. 2021): leaky ReLU, at most 320 channels; five stages |
| `monai-segresnet` | Myronenko 2018 without its autoencoder: group normalisation; four stages |

All map an image (N, channels, z, y, x) to logits (N, classes, z, y, x), and take `channels_last_3d`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import nn

from dmapsvc.errors import BadInput
from dmapsvc.train.names import NetworkName, check_network
from dmapsvc.train.vnet import VNet

_MONAI_VNET_WIDTH = 16
_DYNUNET_CHANNELS = 320  # no stage has more, as in nnU-Net


def make_network(name: NetworkName, *, channels: int, classes: int, width: int) -> nn.Module:
    """The network called `name`, with weights from torch's random numbers: who wants the same again seeds it.

    `channels`: of the image; `classes`: with the background; `width`: channels of the first stage. Raises
    BadInput for another name, for a number below 1, and for a width or channels that this network cannot
    have.
    """
    check_network(name)
    if min(channels, classes, width) < 1:
        raise BadInput(
            f"{name} with {channels} channels, {classes} classes, width {width}", "each must be at least 1"
        )
    return _MAKERS[name](channels, classes, width)


def placed(net: nn.Module, device: torch.device) -> nn.Module:
    """`net` itself, moved to `device` and laid out as it is fastest there."""
    moved: nn.Module = net.to(device).to(memory_format=memory_format(device))  # type: ignore[call-overload]
    return moved


def memory_format(device: torch.device) -> torch.memory_format:
    """Channels last on the CPU, where a step of a small U-Net takes two thirds of the time so; on CUDA it is
    slower with instance normalisation, which knows no such layout.
    """
    return torch.channels_last_3d if device.type == "cpu" else torch.contiguous_format


def _vnet(channels: int, classes: int, width: int) -> nn.Module:
    return VNet(in_channels=channels, classes=classes, width=width)


def _monai_vnet(channels: int, classes: int, width: int) -> nn.Module:
    from monai.networks.nets.vnet import VNet as MonaiVNet

    if width != _MONAI_VNET_WIDTH:
        raise BadInput(f"width {width}", "monai-vnet has 16", "Take width 16 or another net")
    if _MONAI_VNET_WIDTH % channels:
        raise BadInput(f"{channels} channels", "monai-vnet wants 1, 2, 4, 8 or 16", "Take another net")
    return MonaiVNet(in_channels=channels, out_channels=classes)


def _monai_unet(channels: int, classes: int, width: int) -> nn.Module:
    from monai.networks.nets.unet import UNet

    return UNet(
        spatial_dims=3,
        in_channels=channels,
        out_channels=classes,
        channels=[width << stage for stage in range(4)],
        strides=(2, 2, 2),
        num_res_units=2,
    )


def _monai_dynunet(channels: int, classes: int, width: int) -> nn.Module:
    from monai.networks.nets.dynunet import DynUNet

    strides = (1, 2, 2, 2, 2)
    return DynUNet(
        spatial_dims=3,
        in_channels=channels,
        out_channels=classes,
        kernel_size=(3,) * len(strides),
        strides=strides,
        upsample_kernel_size=strides[1:],
        filters=[min(width << stage, max(width, _DYNUNET_CHANNELS)) for stage in range(len(strides))],
    )


def _monai_segresnet(channels: int, classes: int, width: int) -> nn.Module:
    from monai.networks.nets.segresnet import SegResNet

    groups = math.gcd(width, 8)  # 8 is MONAI's own; they must divide the width
    return SegResNet(
        in_channels=channels,
        out_channels=classes,
        init_filters=width,
        norm=("GROUP", {"num_groups": groups}),
    )


_MAKERS: Mapping[NetworkName, Callable[[int, int, int], nn.Module]] = {
    "vnet": _vnet,
    "monai-vnet": _monai_vnet,
    "monai-unet": _monai_unet,
    "monai-dynunet": _monai_dynunet,
    "monai-segresnet": _monai_segresnet,
}
