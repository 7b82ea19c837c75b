"""Distances by compiled passes over all regions at once, on a thread pool of its own.

The kernels release the GIL and run over blocks of planes. numba's own `parallel=True` is not used: its
threading layers abort the process when two threads call in, or after a fork. The pool lives as long as
a call, so a process that is forked between two calls inherits nothing that is broken.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib import reload

import numpy as np
from numpy.typing import NDArray

from dmapsvc.maps import kernels
from dmapsvc.maps.compiling import without_cache
from dmapsvc.maps.distances import Distances
from dmapsvc.maps.regions import RegionMap
from dmapsvc.spec import Spacing

_BLOCKS = 64  # of an axis, however many threads there are: sums then never depend on the threads


def measure(regions: RegionMap, sampling: Spacing, threads: int) -> Distances:
    """D of every voxel, in two passes over memory; see `Backend.measure`."""
    indices = regions.indices
    depth, height, _ = indices.shape
    values = np.empty(indices.shape, np.float32)

    def planes(first: int, stop: int) -> None:
        kernels.transform_planes(indices, values, sampling, first, stop)

    def columns(first: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        maxima = np.zeros(len(regions.values), np.float32)
        sums = np.zeros(len(regions.values))
        kernels.transform_columns(indices, values, sampling, first, stop, maxima, sums)
        return maxima, sums

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(planes, *_blocks(depth)))
        summaries = list(pool.map(columns, *_blocks(height)))
    maxima = np.max([maxima for maxima, _ in summaries], axis=0).astype(np.float64)
    return Distances(values=values, maxima=maxima, sums=np.sum([sums for _, sums in summaries], axis=0))


def invert(regions: RegionMap, distances: Distances, threads: int) -> None:
    """Turn D into Φ in place; see `Backend.invert`."""
    maxima = distances.maxima.astype(np.float32)

    def planes(first: int, stop: int) -> None:
        kernels.invert_planes(regions.indices, distances.values, maxima, first, stop)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(planes, *_blocks(regions.indices.shape[0])))


def mend() -> None:
    """Compile anew in memory: numba neither skips files of its cache that are cut off, nor a full disk."""
    with without_cache():
        reload(kernels)


def _blocks(size: int) -> tuple[list[int], list[int]]:
    edges = [size * i // min(size, _BLOCKS) for i in range(min(size, _BLOCKS) + 1)]
    return edges[:-1], edges[1:]
