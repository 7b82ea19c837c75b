"""V-Net as its authors published it: Milletari, Navab, Ahmadi, *V-Net*, 3DV 2016 (arXiv:1606.04797).

Layer by layer this is the authors' own Caffe network (github.com/faustomilletari/VNet, Prototxt/
train_noPooling_ResNet_cinque.prototxt), with the width as a parameter: 18 convolutions of 5³.

It is not quite the network of their paper. Convolutions of 5³ by stage, and the receptive field after it:

    stage                  1    2    3    4   bottom   4    3    2    1   classes
    the paper, Figure 2    1    2    3    3    3       3    3    2    1   0, straight to 1³
      (its Table 1)        5   22   72  172  372     476  528  546  551   551
    published, and here    1    1    2    3    3       3    2    1    1   1 and PReLU, then 1³
                           5   14   48  148  348     452  488  498  503   507

On the way up both rows add one voxel of the finer grid for each transposed convolution, as the paper's
table does. Everything else agrees: channels, 2³ convolutions of stride 2 both ways, PReLU,
residuals, what is joined. The network that the authors published and ran is taken here.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dmapsvc.errors import BadInput
from dmapsvc.train.names import DIVISORS

_DIVISOR = DIVISORS["vnet"]
_DOWN = (1, 2, 3, 3)  # 5³ convolutions of the stages below the first, the bottom last
_UP = (3, 2, 1, 1)  # and on the way up


class VNet(nn.Module):
    """The original V-Net: residual stages of 5³ convolutions, PReLU, biases, no normalisation layers.

    Stages halve the sides with 2³ convolutions of stride 2 and double the channels, from `width` (16 in the
    paper) to 16 · `width`; the way up mirrors it with 2³ transposed convolutions and takes each stage's
    output along. The weights start as in the authors' network (MSRA filler over the mean of fan-in and
    fan-out, biases 0, PReLU 0.25).

    `in_channels`: of the image; `classes`: with the background. Raises BadInput if one of the three is below
    1.
    """

    def __init__(self, *, in_channels: int = 1, classes: int = 2, width: int = 16) -> None:
        super().__init__()
        if min(in_channels, classes, width) < 1:
            raise BadInput(
                f"a V-Net of {in_channels} channels, {classes} classes, width {width}",
                "each must be at least 1",
            )
        self.width = width
        self.entry = nn.Conv3d(in_channels, width, 5, padding=2)
        self.entry_activation = nn.PReLU(width)
        self.down = nn.ModuleList(_Down(width << level, convs) for level, convs in enumerate(_DOWN))
        below = (width << 4, *(width << level for level in (4, 3, 2)))  # channels that come from below
        self.up = nn.ModuleList(
            _Up(channels, width << level, convs)
            for channels, level, convs in zip(below, (3, 2, 1, 0), _UP, strict=True)
        )
        self.exit = nn.Sequential(
            nn.Conv3d(2 * width, classes, 5, padding=2), nn.PReLU(classes), nn.Conv3d(classes, classes, 1)
        )
        self.apply(_fill)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, classes, z, y, x) of an image (N, channels, z, y, x).

        Raises BadInput unless every side is a multiple of 16.
        """
        _check_sides(image)
        stages = [self.entry_activation(self.entry(image) + self._tiled(image))]
        for down in self.down:
            stages.append(down(stages[-1]))
        features = stages.pop()
        for up in self.up:
            features = up(features, stages.pop())
        logits: Tensor = self.exit(features)
        return logits

    def _tiled(self, image: Tensor) -> Tensor:
        """The image's channels repeated to `width` channels: what the first stage's residual adds."""
        channels = image.shape[1]
        return image.repeat(1, math.ceil(self.width / channels), 1, 1, 1)[:, : self.width]


class _Residual(nn.Module):
    """5³ convolutions, each followed by PReLU; the input is added before the last PReLU."""

    def __init__(self, channels: int, convs: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv3d(channels, channels, 5, padding=2) for _ in range(convs))
        self.activations = nn.ModuleList(nn.PReLU(channels) for _ in range(convs))

    def forward(self, features: Tensor) -> Tensor:
        out = features
        for conv, activation in zip(self.convs[:-1], self.activations[:-1], strict=True):
            out = activation(conv(out))
        total: Tensor = self.activations[-1](self.convs[-1](out) + features)
        return total


class _Down(nn.Module):
    """Half the sides, twice the channels, then a residual stage."""

    def __init__(self, channels: int, convs: int) -> None:
        super().__init__()
        self.sample = nn.Sequential(nn.Conv3d(channels, 2 * channels, 2, stride=2), nn.PReLU(2 * channels))
        self.stage = _Residual(2 * channels, convs)

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.stage(self.sample(features))
        return out


class _Up(nn.Module):
    """Twice the sides, joined with `channels` channels of the way down, then a residual stage."""

    def __init__(self, below: int, channels: int, convs: int) -> None:
        super().__init__()
        self.sample = nn.Sequential(nn.ConvTranspose3d(below, channels, 2, stride=2), nn.PReLU(channels))
        self.stage = _Residual(2 * channels, convs)

    def forward(self, features: Tensor, beside: Tensor) -> Tensor:
        out: Tensor = self.stage(torch.cat([self.sample(features), beside], dim=1))
        return out


def _fill(module: nn.Module) -> None:
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        nn.init.xavier_normal_(
            module.weight, gain=math.sqrt(2)
        )  # variance 2 over the mean of fan-in and fan-out
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _check_sides(image: Tensor) -> None:
    sides = tuple(image.shape[2:])
    if image.ndim != 5 or any(side == 0 or side % _DIVISOR for side in sides):
        raise BadInput(
            f"an image of shape {tuple(image.shape)}",
            f"V-Net wants (N, C, z, y, x) with every side a multiple of {_DIVISOR}",
            "Choose another patch size",
        )
