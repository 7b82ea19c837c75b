"""Φ as the store keeps it: 16 bits a voxel and what travels with them.

Maps make it, the store publishes it. By which step Φ is quantised is decided in `spec`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmapsvc.region import Region
from dmapsvc.spec import MapSpec, Quantisation


@dataclass(frozen=True, kw_only=True)
class QuantisedMap:
    """Φ of one label map, quantised.

    `values`: uint16 (z, y, x); Φ = values · `quantisation.scale_factor` + `quantisation.add_offset`, in
    voxels or mm as `spec.units` says, unscaled. `regions`: the background first if it has voxels, then the
    classes that are present, in the order of `spec.labels` or ascending. `absent`: labels of `spec` that no
    voxel has. `backend`: which one measured the distances. `notes`: why it was not the one that would come
    first.
    """

    values: NDArray[np.uint16]
    quantisation: Quantisation
    regions: tuple[Region, ...]
    absent: tuple[int, ...]
    spec: MapSpec
    backend: str
    notes: tuple[str, ...] = ()


def quantise(phi: NDArray[np.float32], step: Quantisation) -> NDArray[np.uint16]:
    """Φ as it is stored: the nearest step, uint16, in the shape of `phi`."""
    steps: NDArray[np.float32] = (phi - np.float32(step.add_offset)) / np.float32(step.scale_factor)
    return np.rint(steps).astype(np.uint16)


def dequantise(stored: NDArray[np.uint16], step: Quantisation) -> NDArray[np.float32]:
    """Φ from what is stored: float32, wrong by at most `step.max_error`."""
    phi = stored.astype(np.float32)
    phi *= np.float32(step.scale_factor)
    if step.add_offset:
        phi += np.float32(step.add_offset)
    return phi
