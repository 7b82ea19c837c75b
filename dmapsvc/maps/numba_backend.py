"""Distances by compiled passes over all regions at once, on a thread pool of its own.

The kernels release the GIL and run over blocks of planes. numba's own `parallel=True` is not used: its
threading layers abort the process when two threads call in, or after a fork. The pool lives as long as
a call, so a process that is forked between two calls inherits nothing that is broken.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib import reload

import numpy as np
from numpy.typing import NDArray

from dmapsvc.compiling import without_cache
from dmapsvc.maps import kernels
from dmapsvc.maps.regions import RegionMap
from dmapsvc.maps.tiles import new_tile
from dmapsvc.spec import Quantisation, Spacing

side_by_side = 1

_log = logging.getLogger(__name__)


_MOST_BLOCKS = 64
_BLOCK = 1 << 18  # voxels, more or less: a millisecond, against which handing it to a thread is nothing


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
        levels = self._levels()

        def planes(first: int, stop: int) -> None:
            kernels.invert_planes(self.regions.labels, levels, self.distances, first, stop)

        self._by_planes(planes)
        return self.distances

    def quantised(self, step: Quantisation) -> NDArray[np.uint16]:
        """Φ as it is stored."""
        levels, stored = self._levels(), np.empty(self.distances.shape, np.uint16)
        offset, scale = np.float32(step.add_offset), np.float32(step.scale_factor)

        def planes(first: int, stop: int) -> None:
            kernels.quantise_planes(
                self.regions.labels, levels, self.distances, offset, scale, stored, first, stop
            )

        self._by_planes(planes)
        return stored

    def _levels(self) -> NDArray[np.float32]:
        """M by label."""
        levels: NDArray[np.float32] = self.maxima.astype(np.float32)[self.regions.table]
        return levels

    def _by_planes(self, planes: Callable[[int, int], None]) -> None:
        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(planes, *_blocks(len(self.distances), self.distances.size)))


def measure(regions: RegionMap, sampling: Spacing, threads: int) -> HostDistances:
    """D of every voxel, in two passes over memory; see `Backend.measure`."""
    _prepare(regions.labels.dtype)
    return _measure(regions, sampling, threads)


def _measure(regions: RegionMap, sampling: Spacing, threads: int) -> HostDistances:
    labels, table = regions.labels, regions.table.astype(np.uint16)
    depth, height, width = labels.shape
    values = np.empty(labels.shape, np.float32)
    z, y, x = sampling
    squares = np.square(np.arange(width + 1) * x).astype(np.float32)

    def planes(first: int, stop: int) -> None:
        tile = new_tile(height)
        kernels.transform_planes(labels, table, squares, np.float32(y * y), values, tile, first, stop)

    def columns(first: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        maxima = np.zeros(len(regions.values), np.float32)
        sums = np.zeros(len(regions.values))
        tile = new_tile(depth)
        kernels.transform_columns(labels, table, np.float32(z * z), values, tile, first, stop, maxima, sums)
        return maxima, sums

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(planes, *_blocks(depth, labels.size)))
        summaries = list(pool.map(columns, *_blocks(height, labels.size)))
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


@cache
def _prepare(dtype: np.dtype[np.uint8] | np.dtype[np.uint16]) -> None:
    """Compile the kernels for label maps of `dtype`, or load them; in memory if the disk is no good."""
    try:
        _run_kernels(dtype)
    except Exception as error:  # whatever a file of the cache that is damaged raises
        _log.warning("the compiled kernels on disk are not used: %s: %s", type(error).__name__, error)
        mend()
        _run_kernels(dtype)


def _run_kernels(dtype: np.dtype[np.uint8] | np.dtype[np.uint16]) -> None:
    labels = np.zeros((1, 1, 2), dtype)
    labels[0, 0, 1] = 1
    pair = RegionMap(labels=labels, table=np.arange(2, dtype=np.uint8), values=(0, 1), voxels=(1, 1))
    distances = _measure(pair, (1.0, 1.0, 1.0), 1)
    distances.phi()
    distances.quantised(Quantisation(scale_factor=1.0))


def _blocks(size: int, voxels: int) -> tuple[list[int], list[int]]:
    """Where blocks of an axis begin and end, however many threads there are: sums never depend on them."""
    count = min(size, _MOST_BLOCKS, -(-voxels // _BLOCK))
    edges = [size * i // count for i in range(count + 1)]
    return edges[:-1], edges[1:]
