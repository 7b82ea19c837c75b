"""cuCIM's Euclidean distance transform as it behaves: CuPy's copy, but always in float32."""

from __future__ import annotations

from typing import Any

from cupyx.scipy import ndimage


def distance_transform_edt(image: Any, sampling: Any = None, *, float64_distances: bool = False) -> Any:
    """Distances in float32: `float64_distances` is accepted and not passed on, as in cuCIM 26.10."""
    return ndimage.distance_transform_edt(image, sampling, float64_distances=False)
