"""Distances by compiled passes over all regions at once, on a thread pool of its own.

The kernels release the GIL and run over blocks of planes. numba's own `parallel=True` is not used: its
threading layers abort the process when two threads call in, or after a fork. The pool lives as long as
a call, so a process that is forked between two calls inherits nothing that is broken.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import reload

import numpy as np
from numpy.typing import NDArray

from dmapsvc.maps import kernels
from dmapsvc.maps.compiling import without_cache
from dmapsvc.maps.regions import RegionMap
from dmapsvc.spec import Quantisation, Spacing

side_by_side = 1

_BLOCKS = 64  # of an axis, however many threads there are: sums then never depend on the threads


@dataclass(frozen=True, kw_only=True)
class HostDistances:
    """D in the memory of the host; see `distances.Distances`."""

    regions: RegionMap
    distances: NDArray[np.float32]
    maxima: NDArray[np.float64]
    sums: NDArray[np.float64]
    threads: int

    def values(self) -> NDArray[np.float32]:
        """D."""
        return self.distances

    def phi(self) -> NDArray[np.float32]:
        """Φ, in place of D."""
        labels, table, values = self.regions.labels, self.regions.table, self.distances
        maxima = self.maxima.astype(np.float32)

        def planes(first: int, stop: int) -> None:
            kernels.invert_planes(labels, table, values, maxima, first, stop)

        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(planes, *_blocks(labels.shape[0])))
        return values

    def quantised(self, step: Quantisation) -> NDArray[np.uint16]:
        """Φ as it is stored."""
        labels, table, values = self.regions.labels, self.regions.table, self.distances
        maxima = self.maxima.astype(np.float32)
        stored = np.empty(labels.shape, np.uint16)

        def planes(first: int, stop: int) -> None:
            kernels.quantise_planes(
                labels, table, values, maxima, step.add_offset, step.scale_factor, stored, first, stop
            )

        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(planes, *_blocks(labels.shape[0])))
        return stored


def measure(regions: RegionMap, sampling: Spacing, threads: int) -> HostDistances:
    """D of every voxel, in two passes over memory; see `Backend.measure`."""
    labels, table = regions.labels, regions.table
    depth, height, _ = labels.shape
    values = np.empty(labels.shape, np.float32)

    def planes(first: int, stop: int) -> None:
        kernels.transform_planes(labels, table, values, sampling, first, stop)

    def columns(first: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        maxima = np.zeros(len(regions.values), np.float32)
        sums = np.zeros(len(regions.values))
        kernels.transform_columns(labels, table, values, sampling, first, stop, maxima, sums)
        return maxima, sums

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(planes, *_blocks(depth)))
        summaries = list(pool.map(columns, *_blocks(height)))
    maxima = np.max([maxima for maxima, _ in summaries], axis=0).astype(np.float64)
    sums = np.sum([sums for _, sums in summaries], axis=0)
    return HostDistances(regions=regions, distances=values, maxima=maxima, sums=sums, threads=threads)


def refusal(regions: RegionMap) -> str | None:
    """Nothing is refused; see `Backend.refusal`."""
    return None


def mend() -> None:
    """Compile anew in memory: numba neither skips files of its cache that are cut off, nor a full disk."""
    with without_cache():
        reload(kernels)


def _blocks(size: int) -> tuple[list[int], list[int]]:
    edges = [size * i // min(size, _BLOCKS) for i in range(min(size, _BLOCKS) + 1)]
    return edges[:-1], edges[1:]
