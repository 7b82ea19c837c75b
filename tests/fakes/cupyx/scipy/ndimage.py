"""CuPy's Euclidean distance transform as it behaves, computed by SciPy: a stand-in where there is no GPU.

As in CuPy 14: any non-zero value is inside; the volume is padded to a cube of the longest axis rounded up to
32, for which memory of the card is taken; coordinates have 10 bits up to an axis of 1024 and 20 beyond;
without any outside, distances are to voxel 0; float64 comes out unless `float64_distances` is False.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cupy
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_OVERFLOW = 1312  # the padded side at which 32-bit offsets no longer reach every voxel


def distance_transform_edt(
    image: Any,
    sampling: float | Sequence[float] | None = None,
    return_distances: bool = True,
    return_indices: bool = False,
    distances: Any = None,
    indices: Any = None,
    *,
    block_params: tuple[int, int, int] | None = None,
    float64_distances: bool = True,
) -> Any:
    """Distance of every non-zero element to the nearest zero one."""
    if image.ndim not in (2, 3):
        raise NotImplementedError("Only 2D and 3D distance transforms are supported.")
    side = -(-max(image.shape) // 32) * 32
    if image.ndim == 3 and side >= _OVERFLOW:
        raise cupy.cuda.runtime.CUDARuntimeError(700)
    coordinates = "int32" if side <= 1024 else "int64"
    padded = [cupy.empty((side,) * image.ndim, dtype) for dtype in ("bool", coordinates, coordinates)]
    inside = cupy.asnumpy(image) != 0
    precision = np.float64 if float64_distances else np.float32
    measured = cupy.asarray(_to(_sites(inside, sampling), sampling, precision))
    del padded
    return measured


def _sites(inside: NDArray[np.bool_], sampling: float | Sequence[float] | None) -> NDArray[Any]:
    if inside.all():
        return np.zeros((inside.ndim, *inside.shape), np.int32)
    sites: NDArray[Any] = ndimage.distance_transform_edt(
        inside, sampling, return_distances=False, return_indices=True
    )
    return sites


def _to(sites: NDArray[Any], sampling: float | Sequence[float] | None, dtype: type[Any]) -> NDArray[Any]:
    """Distances to `sites`, in the precision of `dtype` from the differences of coordinates on."""
    steps = np.broadcast_to(np.asarray(1.0 if sampling is None else sampling, dtype), len(sites))
    square = np.zeros(sites.shape[1:], dtype)
    grid: tuple[NDArray[Any], ...] = np.indices(sites.shape[1:], sparse=True)
    for site, here, step in zip(sites, grid, steps, strict=True):
        along = (site - here).astype(dtype) * step
        square += along * along
    return np.sqrt(square)
