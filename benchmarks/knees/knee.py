"""One subject of the benchmark: an anatomy bent, labelled and imaged. Nothing is written here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.knees.anatomy import NAMES, Anatomy
from benchmarks.knees.deformation import deformation, moved
from benchmarks.knees.grid import Array, averaged, spacing
from benchmarks.knees.image import measured, tissues
from dmapsvc.errors import BadInput

SEED = 2019  # of all that is drawn, with the subject's number; the year of the paper


@dataclass(frozen=True, kw_only=True)
class Knee:
    """A subject: class index uint8 and image int16, (z, y, x) each, and their affine to RAS+ mm."""

    labels: NDArray[np.uint8]
    image: NDArray[np.int16]
    affine: NDArray[np.float64]


def make(anatomy: Anatomy, number: int) -> Knee:
    """Subject `number` of an anatomy: the same for the same; raises BadInput if a bone has no voxel left."""
    bend, tissue, scanner = (np.random.default_rng((SEED, number, part)) for part in range(3))
    bones = moved(anatomy.distances, deformation(bend))
    labels = labelled(bones)
    for label, name in NAMES.items():
        if not (labels == label).any():
            raise BadInput(f"subject {number} has no {name}", "every bone is wanted", "Take a finer grid")
    return Knee(labels=labels, image=measured(tissues(bones, tissue), scanner), affine=anatomy.affine)


def labelled(bones: Array) -> NDArray[np.uint8]:
    """The class that fills most of each voxel, of the distances to bones on the fine grid, (3, z, y, x)."""
    side = min(spacing(bones.shape[1:]))
    filled = averaged(np.clip(0.5 - bones / np.float32(side), 0, 1))
    background = 1 - filled.sum(axis=0)
    labels: NDArray[np.uint8] = np.argmax(np.stack([background, *filled]), axis=0).astype(np.uint8)
    return labels
