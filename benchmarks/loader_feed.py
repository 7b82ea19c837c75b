"""What a loader is asked for, and what it hands over: the same for every contender."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.loader_volumes import Box, Volume

if TYPE_CHECKING:
    from torch import Tensor

ROTATION = 15.0  # degrees: rotated patches are turned by an angle uniform in ± this, every one of them

Place = tuple[str, tuple[int, int, int]]
"""Of which case a patch is, and the corner of its box, (z, y, x)."""


@dataclass(frozen=True, kw_only=True)
class Feed:
    """Random boxes, uniform over each volume, of `volumes`, which lie in `folder` in the contender's format.

    `workers`: processes or threads, whatever it has. `placed`: the places of the patches are wanted too, as
    they are where values are checked.
    """

    folder: Path
    volumes: tuple[Volume, ...]
    patch: Box = (96, 96, 96)
    batch: int = 2
    workers: int = 2
    placed: bool = False

    @property
    def cases(self) -> tuple[str, ...]:
        """The names of the volumes."""
        return tuple(volume.case for volume in self.volumes)


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """A batch: `image` and `phi` float32, `label` int16, (batch, z, y, x), as views of what the loader made.

    `places` tells where each patch lies; of rotated patches, and unless the feed is `placed`, it may raise.
    """

    image: Tensor
    label: Tensor
    phi: Tensor
    places: Callable[[], Sequence[Place]]


Batches = Callable[[Feed], Generator[Delivered]]
"""Starts a loader and delivers without end; closing the generator ends its workers."""
