"""Which patches are drawn: patch number n of a stream is a pure function of the seed and n.

So a stream goes on anywhere, whoever makes its patches, in whatever order. Nothing is read here: what is
known of a case, its shape and its foreground, is handed in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmapsvc.loader.turns import Augment, Box, Turn

Positions = NDArray[np.integer[Any]]
"""Voxels of one class of a case, (n, 3) rows (z, y, x)."""

_Key = tuple[int, int]


class _Purpose(IntEnum):
    """What random numbers are for: each has numbers of its own."""

    ROUND = 0
    CORNER = 1
    TURN = 2


class Sampler:
    """The stream of patches that `seed` (a number or several) draws from `cases` cases.

    Cases come in rounds: each once, in an order that is shuffled anew for every round. A share `foreground`
    of the patches is centred, as far as the volume's border lets them, on a voxel of a class, all classes of
    the case alike; the others lie anywhere in the volume, all corners alike. `patch`: sides (z, y, x).
    """

    def __init__(
        self, cases: int, *, patch: Box, foreground: float, seed: int | Sequence[int], augment: Augment | None
    ) -> None:
        self._cases, self._patch, self._foreground, self._augment = cases, patch, foreground, augment
        first, second = np.random.SeedSequence(seed).generate_state(2, np.uint64).tolist()
        self._key: _Key = (first, second)

    def cases(self, n: int) -> Iterator[int]:
        """The case of patch `n`, 0 to `cases`, and then the others of its round, for when it is gone."""
        number, place = divmod(n, self._cases)
        order = _shuffled(self._key, number, self._cases)
        yield from order[place:]
        yield from order[:place]

    def corner(self, n: int, shape: Box, foreground: Sequence[Positions]) -> Box:
        """The corner of patch `n` in a volume of `shape` with `foreground`, positions by class.

        Along an axis on which the volume is smaller than the patch, it lies in the middle of the patch.
        """
        random = _random(self._key, _Purpose.CORNER, n)
        room = np.subtract(shape, self._patch)
        if random.random() < self._foreground and foreground:
            positions = foreground[int(random.integers(len(foreground)))]
            centre = positions[random.integers(len(positions))].astype(np.int64)
            corner = np.clip(centre - np.floor_divide(self._patch, 2), 0, np.maximum(room, 0))
        else:
            corner = random.integers(0, np.maximum(room, 0) + 1)
        z, y, x = np.where(room < 0, room // 2, corner).tolist()
        return z, y, x

    def turn(self, n: int) -> Turn:
        """How patch `n` is augmented; `Turn()` without an `Augment`."""
        return Turn() if self._augment is None else self._augment.draw(_random(self._key, _Purpose.TURN, n))


@lru_cache(maxsize=64)
def _shuffled(key: _Key, number: int, cases: int) -> tuple[int, ...]:
    """The order of the cases in a round."""
    return tuple(_random(key, _Purpose.ROUND, number).permutation(cases).tolist())


def _random(key: _Key, purpose: _Purpose, n: int) -> np.random.Generator:
    # Philox counts 2¹²⁸ numbers from here before it meets the next n or purpose.
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, n, purpose]))
