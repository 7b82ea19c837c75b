"""The kernels of `kernels.cu`, compiled for the card when they are first wanted, and how each is launched.

In which order they run is decided in `cuda_backend`.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import cupy
import numpy as np

from dmapsvc.maps.cuda_volume import CardVolume
from dmapsvc.spec import Quantisation, Spacing

LONGEST_AXIS = 65_534
"""Steps along x are kept in 16 bits, of which the largest means none; the other axes are held to the same."""

_WORD_BITS, _LANES, _SEGMENT = 32, 32, 16  # as in kernels.cu
_THREADS = 256  # a block


class Kernels:
    """The kernels for label maps of `bits` bits a voxel, 8 or 16; a call launches one on the current stream.

    What they compute is said in `kernels.cu`; which part of a volume's memory they read and write, here.
    """

    def __init__(self, bits: int) -> None:
        source = files("dmapsvc.maps").joinpath("kernels.cu").read_text(encoding="utf-8")
        self._module = cupy.RawModule(code=source, options=(f"-DREGION_BITS={bits}",))

    def edges(self, volume: CardVolume) -> None:
        """Where regions change along x: a bit a voxel, to `first`."""
        width, row_words, all_words = _words(volume)
        self._launch(
            "edges", int(all_words), volume.regions, volume.table, volume.first, width, row_words, all_words
        )

    def rows(self, volume: CardVolume) -> None:
        """Steps along x, from `first` to `second`; `regions` become indices."""
        width, row_words, all_words = _words(volume)
        self._launch(
            "rows",
            int(all_words) * _WORD_BITS,
            volume.regions,
            volume.table,
            volume.first,
            volume.second,
            width,
            row_words,
            all_words,
        )

    def planes(self, volume: CardVolume, sampling: Spacing) -> None:
        """Squared distances within the planes, from `second` to `first`."""
        depth, height, width = volume.shape
        self._sweep(
            "planes",
            (depth, height, width),
            volume.regions,
            volume.second,
            volume.first,
            np.int32(height),
            np.int32(width),
            np.float32(sampling[1] ** 2),
            np.float32(sampling[2] ** 2),
        )

    def columns(self, volume: CardVolume, sampling: Spacing) -> None:
        """Distances, from `first` to `second`, and their summary."""
        depth, height, width = volume.shape
        self._sweep(
            "columns",
            (height, depth, width),
            volume.regions,
            volume.first,
            volume.second,
            volume.maxima,
            volume.sums,
            np.int32(depth),
            np.int32(height),
            np.int32(width),
            np.float32(sampling[0] ** 2),
            np.int32(volume.slots),
            np.int32(volume.region_count),
        )

    def invert(self, volume: CardVolume) -> None:
        """Φ in the place of D, `second`, by the maxima in `table`."""
        self._launch(
            "invert", volume.voxels, volume.regions, volume.second, volume.table, np.int64(volume.voxels)
        )

    def quantise(self, volume: CardVolume, step: Quantisation) -> None:
        """Φ as it is stored, from D in `second` and the maxima in `table`, to `first`."""
        self._launch(
            "quantise",
            volume.voxels,
            volume.regions,
            volume.second,
            volume.table,
            volume.first,
            np.int64(volume.voxels),
            np.float32(step.add_offset),
            np.float32(step.scale_factor),
        )

    def _launch(self, name: str, threads: int, *arguments: Any) -> None:
        blocks = -(-threads // _THREADS)
        self._module.get_function(name)((blocks,), (_THREADS,), arguments)

    def _sweep(self, name: str, lines: tuple[int, int, int], *arguments: Any) -> None:
        """Launch for `lines`: how many stacks of lines, how long a line is, how many lie side by side."""
        stacks, size, side_by_side = lines
        segments = _THREADS // _LANES  # a block
        blocks = stacks * -(-side_by_side // _LANES) * -(-size // (_SEGMENT * segments))
        self._module.get_function(name)((blocks,), (_LANES, segments), arguments)


@cache
def kernels(bits: int) -> Kernels:
    """The kernels for label maps of `bits` bits a voxel, compiled once a process."""
    return Kernels(bits)


def _words(volume: CardVolume) -> tuple[np.int32, np.uint32, np.uint32]:
    """The width, and the words of edges of a row and of the volume: a row begins with a new word."""
    depth, height, width = volume.shape
    row_words = -(-width // _WORD_BITS)
    return np.int32(width), np.uint32(row_words), np.uint32(depth * height * row_words)
