"""Whose knee it is: the bones of an anatomy, generated or read from a label file, as signed distances.

What makes subjects of an anatomy, and how they look, is not decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nibabel import orientations
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.knees.grid import FIELD, FINER, Array, Shape, finer, spacing
from demo import phantom
from dmapsvc.errors import BadFile, BadInput
from dmapsvc.maps import penalty_map
from dmapsvc.spec import MapSpec
from dmapsvc.volumes import read_labels

NAMES = phantom.NAMES  # class: bone
BONES = len(NAMES)
_AXES = "PIL"  # where voxel axes i, j and k go, as in demo.phantom: to the back, down, to the left
_SMOOTH = 0.7  # voxels: takes the stairs off a surface that was voxels


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """The bones of one knee on the fine grid of a volume.

    `distances`: float32 (bone, z, y, x), in mm from the surface of each bone of NAMES, negative inside it.
    `affine`: of the volume, (i, j, k, 1) to RAS+ mm; a voxel of it holds FINER³ points of the fine grid.
    """

    distances: Array
    affine: NDArray[np.float64]


def generated(seed: int, shape: Shape) -> Anatomy:
    """The anatomy that demo.phantom makes of `seed`, for volumes of `shape`.

    Raises BadInput if they are too coarse for one of the bones.
    """
    labels, affine = phantom.knee(seed, finer(shape))
    return Anatomy(distances=_distances(f"generated {seed}", labels), affine=_coarser(affine))


def from_file(path: Path, labels: Sequence[int], shape: Shape) -> Anatomy:
    """The anatomy in a label file, for volumes of `shape`; `labels`: femur, tibia, patella.

    Its axes are ordered as the generated ones' are, and its bones put in the middle of the field of view. A
    bone that leaves the file's volume goes on beyond it.

    Raises what `read_labels` raises, BadFile for a file without axes in mm or without one of the bones, and
    BadInput if one of them is not in the field of view.
    """
    volume = read_labels(path)
    if volume.header.affine is None:
        raise BadFile(f"{path}: no affine", "the directions and sides of its voxels are wanted")
    classes = _classes(path, volume.array, labels)
    turned, affine = _turned(classes, volume.header.affine)
    corners = np.argwhere(turned)
    middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
    sides = np.linalg.norm(affine[:3, :3], axis=0)[::-1]
    fine = finer(shape)
    axes = [
        (np.arange(size) + 0.5 - size / 2) * step / side + centre
        for size, step, side, centre in zip(fine, spacing(fine), sides, middle, strict=True)
    ]
    nearest = [
        np.clip(np.rint(axis), 0, size - 1).astype(int) for axis, size in zip(axes, turned.shape, strict=True)
    ]
    start = np.array([axis[0] for axis in axes])
    placed = np.eye(4)
    placed[:3, :3] = affine[:3, :3] / sides[::-1] * np.array(spacing(fine))[::-1]
    placed[:3, 3] = affine[:3, :3] @ start[::-1] + affine[:3, 3]
    return Anatomy(distances=_distances(str(path), turned[np.ix_(*nearest)]), affine=_coarser(placed))


def _classes(path: Path, array: NDArray[Any], labels: Sequence[int]) -> NDArray[np.uint8]:
    """Class index (z, y, x), 0 where no bone is."""
    classes = np.zeros(array.shape, np.uint8)
    for index, label in enumerate(labels, start=1):
        there = array == label
        if not there.any():
            raise BadFile(f"{path}: no voxel is {label}", f"the label of the {NAMES[index]} is wanted")
        classes[there] = index
    return classes


def _turned(classes: NDArray[np.uint8], affine: NDArray[np.float64]) -> tuple[NDArray[np.uint8], Any]:
    """The same voxels and their affine, with axes that go where _AXES says, as nearly as they can."""
    turn = orientations.ornt_transform(
        orientations.io_orientation(affine), orientations.axcodes2ornt(tuple(_AXES))
    )
    by_ijk = orientations.apply_orientation(classes.transpose(2, 1, 0), turn)
    back = orientations.inv_ornt_aff(turn, classes.shape[::-1])
    return np.ascontiguousarray(by_ijk.transpose(2, 1, 0)), affine @ back


def _distances(name: str, classes: NDArray[np.uint8]) -> Array:
    """Signed distances in mm to each bone's surface, which lies midway between its voxels and the others.

    `name`: of the anatomy, for the error, BadInput, where a bone has no voxel.
    """
    sides = spacing(classes.shape)
    distances = np.empty((BONES, *classes.shape), np.float32)
    for index in range(BONES):
        bone = classes == index + 1
        if not bone.any():
            raise BadInput(
                f"{name}: no {NAMES[index + 1]} in the field of view, {FIELD} mm (z, y, x)",
                "every bone is wanted",
                "Take a finer grid, or crop the file to the joint",
            )
        phi = penalty_map(bone, sides, MapSpec(units="mm"), threads=1)
        maxima = {region.value: np.float32(region.maximum) for region in phi.regions}
        distances[index] = np.where(bone, phi.values - maxima[1], maxima[0] - phi.values)
        distances[index] -= np.copysign(np.float32(min(sides) / 2), distances[index])
        ndimage.gaussian_filter(distances[index], _SMOOTH, output=distances[index])
    return distances


def _coarser(fine: NDArray[np.float64]) -> NDArray[np.float64]:
    """The affine of voxels that hold FINER³ points of the grid with the affine `fine`."""
    affine = fine.copy()
    affine[:3, :3] *= FINER
    affine[:3, 3] += fine[:3, :3] @ np.full(3, (FINER - 1) / 2)
    return affine
