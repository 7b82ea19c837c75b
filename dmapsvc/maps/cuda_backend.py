"""Distances on a GPU by our own kernels: all regions in one go, and only what is stored comes back.

Labels go up as they are; D stays on the card until it is asked for. Here is the order of the passes; what
each does is in `kernels.cu`, a volume's memory in `cuda_volume`, and what CuPy's errors mean in `cards`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cupy
import numpy as np
from numpy.typing import NDArray

from dmapsvc.maps.cards import card_errors, shortage
from dmapsvc.maps.cuda_kernels import LONGEST_AXIS, kernels
from dmapsvc.maps.cuda_volume import CardVolume, Layout
from dmapsvc.maps.regions import RegionMap
from dmapsvc.spec import Quantisation, Spacing

side_by_side = 2
"""While the bytes of one volume are on the bus, another is computed."""

_BESIDES = 16 << 20  # bytes of the card: the compiled kernels, and what the driver rounds up

_idle_streams: list[Any] = []


class CudaDistances:
    """D in the memory of the card, given back once D was asked for; see `distances.Distances`."""

    def __init__(self, volume: CardVolume, maxima: NDArray[np.float64], sums: NDArray[np.float64]) -> None:
        self.maxima, self.sums = maxima, sums
        self._volume: CardVolume | None = volume

    def values(self) -> NDArray[np.float32]:
        """D."""
        with self._last_use() as volume:
            return volume.fetch(volume.second, volume.shape, np.float32)

    def phi(self) -> NDArray[np.float32]:
        """Φ, inverted on the card."""
        with self._last_use() as volume:
            volume.send(self.maxima.astype(np.float32), volume.table)
            kernels(volume.bits).invert(volume)
            return volume.fetch(volume.second, volume.shape, np.float32)

    def quantised(self, step: Quantisation) -> NDArray[np.uint16]:
        """Φ as it is stored, inverted and quantised on the card: two bytes a voxel come back."""
        with self._last_use() as volume:
            volume.send(self.maxima.astype(np.float32), volume.table)
            kernels(volume.bits).quantise(volume, step)
            return volume.fetch(volume.first, volume.shape, np.uint16)

    @contextmanager
    def _last_use(self) -> Iterator[CardVolume]:
        volume, self._volume = self._volume, None
        if volume is None:
            raise RuntimeError("the distances were given away already")
        with card_errors(), _stream():
            yield volume


def measure(regions: RegionMap, sampling: Spacing, threads: int) -> CudaDistances:
    """D of every voxel; see `Backend.measure`. No thread of the host is used but the caller's.

    The last digits of a sum depend on which thread of the card came first.
    """
    with card_errors(), _stream():
        volume = CardVolume(regions)
        volume.send(regions.labels, volume.regions)
        volume.send(regions.table.astype(regions.labels.dtype, copy=False), volume.table)
        _transform(volume, sampling)
        maxima, sums = volume.fetch_summary()
    return CudaDistances(volume, maxima.astype(np.float64), sums)


def refusal(regions: RegionMap) -> str | None:
    """Why a volume is too long for the kernels, or the card too full for it now; see `Backend.refusal`."""
    longest = max(regions.labels.shape)
    if longest > LONGEST_AXIS:
        return f"an axis of {longest} voxels is longer than {LONGEST_AXIS}"
    return shortage(Layout.of(regions).size + _BESIDES)


def mend() -> None:
    """Compile anew, past CuPy's cache on disk; see `Backend.mend`."""
    os.environ["CUPY_CACHE_IN_MEMORY"] = "1"
    kernels.cache_clear()


def _transform(volume: CardVolume, sampling: Spacing) -> None:
    """All passes up to D and its summary."""
    run = kernels(volume.bits)
    run.edges(volume)
    run.rows(volume)
    run.planes(volume, sampling)
    volume.clear_summary()
    run.columns(volume, sampling)


@contextmanager
def _stream() -> Iterator[None]:
    """A stream of one's own while the block runs, non-blocking, made once and used again.

    Used again, because CuPy's pool keeps what is freed for the stream that had it; not after a failure.
    """
    try:
        stream = _idle_streams.pop()
    except IndexError:
        stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        yield
    _idle_streams.append(stream)
