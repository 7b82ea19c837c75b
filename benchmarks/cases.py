"""A folder of masks to precompute: many different files out of a few knees.

How they are precomputed is not decided here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demo import phantom
from dmapsvc.errors import BadInput
from dmapsvc.volumes import read_labels

LARGEST = (160, 384, 384)  # voxels: cases of one size, so that a few speak for all

RECIPE = (
    "Case i is knee i mod N, of N, its middle cut out where it has more than 160 x 384 x 384 voxels.\n"
    "Of i div N, bits 0, 1 and 2 flip z, y and x, and the rest rolls it along z by so many voxels."
)


@dataclass(frozen=True, kw_only=True)
class Masks:
    """A folder of masks, and how many voxels each of them has, by name."""

    folder: Path
    voxels: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many masks there are."""
        return len(self.voxels)

    @property
    def total(self) -> int:
        """Voxels of all of them."""
        return sum(self.voxels)

    def first(self, count: int) -> Masks:
        """A new folder beside this one with the first `count` of the masks; it may be none."""
        folder = Path(tempfile.mkdtemp(prefix=f"{count}-", dir=self.folder.parent))
        for mask in sorted(self.folder.iterdir())[:count]:
            (folder / mask.name).hardlink_to(mask)
        return Masks(folder=folder, voxels=self.voxels[:count])


def write_cases(knees: Sequence[Path], folder: Path, count: int) -> Masks:
    """Write `count` masks out of the files `knees` into the new folder `folder`, case00.nii.gz …, by RECIPE.

    Generated knees are taken where there are no files.
    """
    folder.mkdir()
    sources = [_read(path) for path in knees] or [phantom.knee(seed) for seed in range(3)]
    voxels = []
    for number in range(count):
        turn, which = divmod(number, len(sources))
        labels, affine = sources[which]
        varied = vary(labels, turn)
        phantom.write(folder / f"case{number:02}.nii.gz", varied, affine)
        voxels.append(varied.size)
    return Masks(folder=folder, voxels=tuple(voxels))


def find_knees(folder: Path) -> list[Path]:
    """The files of `folder` that are called knee…; raises BadInput if there are none."""
    knees = sorted(folder.glob("knee*"))
    if not knees:
        raise BadInput(
            f"{folder}: no file called knee…", "label files of knees are wanted", "Name their folder"
        )
    return knees


def vary(labels: NDArray[Any], turn: int) -> NDArray[Any]:
    """`labels`, (z, y, x), cut, flipped and rolled by RECIPE; `turn` is its i div N."""
    flips, shift = turn % 8, turn // 8
    middle = tuple(_middle(size, most) for size, most in zip(labels.shape, LARGEST, strict=True))
    flipped = np.flip(labels[middle], tuple(axis for axis in range(3) if flips >> axis & 1))
    return np.roll(flipped, shift, axis=0)


def _middle(size: int, most: int) -> slice:
    start = max(size - most, 0) // 2
    return slice(start, start + min(size, most))


def _read(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    volume = read_labels(path)
    affine = volume.header.affine
    return volume.array, np.eye(4) if affine is None else affine
