"""What a scanner would see of three bones: tissues drawn by their distance to the bones, then measured.

It resembles a proton-density weighted knee: marrow, fat and cartilage are about as bright as each other, and
what parts bone from them is a dark cortex, often thinner than a voxel, with ligament and meniscus as dark
beside it. Of no medical meaning. Which bones they are is not decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.knees.grid import FIELD, Array, Spacing, averaged, smooth_noise

# Brightness of each tissue before bias and noise; a subject's differs from it by _SUBJECTS (deviation).
SIGNAL = {
    "air": 0.0,
    "cortex": 70.0,
    "fibre": 90.0,
    "muscle": 230.0,
    "synovium": 345.0,
    "cartilage": 375.0,
    "marrow": 385.0,
    "fat": 400.0,
    "fluid": 480.0,
}
_SUBJECTS = 0.06
_EDGE = 0.9  # mm over which one tissue gives way to another, before voxels are averaged
_BIAS = 0.16  # deviation of the logarithm of the receiver's sensitivity
_BIAS_SCALE = 45.0  # mm
_NOISE = 30.0  # deviation in each of the two channels

_Noise = Callable[[float | Spacing], Array]  # a new smooth field of deviation 1, of a scale in mm
_Signal = Mapping[str, float]
_Field = NDArray[np.floating[Any]]


def tissues(bones: Array, random: np.random.Generator) -> Array:
    """The brightness (z, y, x) of what is there, given the distances to bones, (3, z, y, x) in mm."""
    signal = {name: value * random.normal(1, _SUBJECTS) for name, value in SIGNAL.items()}

    def noise(scale: float | Spacing) -> Array:
        return smooth_noise(scale, bones.shape[1:], random)

    nearest = bones.min(axis=0)
    second = bones.sum(axis=0) - nearest - bones.max(axis=0)  # of three: small where two bones are close
    image = signal["muscle"] * (1 + 0.09 * noise((1.5, 6.0, 1.5)))
    _draw_fat(image, nearest, second, signal, noise)
    _draw_joint(image, nearest, second, signal, noise)
    _draw_skin(image, nearest, signal, noise)
    _draw_bone(image, nearest, second, signal, noise)
    return image


def measured(image: Array, random: np.random.Generator) -> NDArray[np.int16]:
    """What a scanner makes of brightness on the fine grid: means over voxels, biased, with Rician noise."""
    voxels = averaged(image)
    voxels *= np.exp(_BIAS * smooth_noise(_BIAS_SCALE, voxels.shape, random))
    real, imaginary = (_NOISE * random.standard_normal(voxels.shape, dtype=np.float32) for _ in range(2))
    noisy: NDArray[np.int16] = np.rint(np.hypot(voxels + real, imaginary)).astype(np.int16)
    return noisy


def _draw_fat(image: Array, nearest: Array, second: Array, signal: _Signal, noise: _Noise) -> None:
    """Fat between muscles, and the pads of fat and synovium around the joint."""
    fat = signal["fat"] * (1 + 0.06 * noise(3.0))
    _over(image, fat, _share((0.16 - np.abs(noise(9.0))) / 0.1))
    pad = _share((11.0 - nearest) / 4.0) * _share((26.0 - second) / 6.0)
    _over(image, fat, pad)
    kind = noise(6.0)
    _over(image, signal["synovium"], pad * _share((kind - 0.4) / 0.3))
    _over(image, signal["muscle"], pad * _share((-kind - 1.0) / 0.3))


def _draw_joint(image: Array, nearest: Array, second: Array, signal: _Signal, noise: _Noise) -> None:
    """Cartilage where bones are close, fluid and meniscus between them, ligaments that begin at the bone."""
    thickness = (2.1 + 0.6 * noise(9.0)) * np.clip((14.0 - second) / 6.0, 0, 1)
    cartilage = signal["cartilage"] * (1 + 0.06 * noise(2.5))
    both = nearest + second
    _over(image, signal["fibre"], _share((both - 5.5) / _EDGE) * _share((5.5 - second) / _EDGE))
    _over(image, cartilage, _share((thickness - nearest) / _EDGE))
    _over(image, signal["fluid"], _share((0.7 - (second - nearest)) / _EDGE) * _share((7.0 - both) / _EDGE))
    ligament = 3.0 * np.clip(noise(7.0) - 0.5, 0, 1)
    _over(image, signal["fibre"], _share((ligament - nearest) / _EDGE) * (ligament > 0))


def _draw_skin(image: Array, nearest: Array, signal: _Signal, noise: _Noise) -> None:
    """Fat below the skin, and air."""
    z, _, x = (np.linspace(-1, 1, size, dtype=np.float32) for size in image.shape)
    depth = (1 - np.hypot(z[:, None, None], x[None, None, :])) * min(FIELD) / 2 + 2.5 * noise(20.0)
    depth = np.maximum(depth, 9.0 - nearest)
    _over(image, signal["fat"], _share((8.0 - depth) / 2.0))
    _over(image, signal["air"], _share((2.0 - depth) / _EDGE))


def _draw_bone(image: Array, nearest: Array, second: Array, signal: _Signal, noise: _Noise) -> None:
    """Marrow, in part as dark as muscle, in a cortex that is thick along shafts and thin in the joint."""
    texture = 0.06 * noise(1.2) + 0.08 * noise(8.0)
    marrow: Array = np.float32(signal["marrow"]) * (1 + texture)
    _over(marrow, signal["muscle"], 0.9 * _share((noise(11.0) - 0.7) / 0.8))
    cortex = np.clip(0.4 + 0.5 * noise(6.0) + 0.04 * np.clip(second - 12.0, 0, 25), 0, 2.5)
    bone = _share(-nearest / _EDGE)
    _over(image, marrow, bone)
    _over(image, signal["cortex"], bone * _share((cortex + nearest) / _EDGE))


def _share(depth: _Field) -> Array:
    """How much of a point is within: 1/2 at depth 0, growing to 1 over a unit of depth."""
    share: Array = np.clip(depth + 0.5, 0, 1)
    return share


def _over(image: Array, value: _Field | float, share: _Field) -> None:
    """Put `share` of `value` over the image, in place."""
    image += share * (value - image)
