"""Volumes that grow: the same anatomy in more voxels, or in more classes.

Who is measured on them is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from benchmarks.subject import Subject
from dmapsvc.spec import Spacing

SIDES = (64, 128, 256, 384, 512)
COUNTS = (1, 3, 10, 30, 100, 300)

CUBE_RECIPE = (
    "The same label map in n x n x n voxels: voxel i of n along an axis of N takes the value at\n"
    "floor((i + 1/2) N / n), and the spacing is stretched by N / n."
)
SPLIT_RECIPE = (
    "The same label map with K other classes: of the voxels that are of a class, K are drawn as seeds\n"
    "(NumPy's default_rng(K), choice without replacement), and each such voxel takes the number of the seed\n"
    "that is nearest in the map's unit. The background stays."
)


def cubes(subject: Subject, sides: Iterable[int]) -> list[Subject]:
    """`subject` in cubes, called by their size."""
    found = []
    for side in sides:
        labels, sampling = cube(subject.labels, subject.sampling, side)
        found.append(Subject(name=f"{side}³", labels=labels, classes=subject.classes, sampling=sampling))
    return found


def splits(subject: Subject, counts: Iterable[int]) -> list[Subject]:
    """`subject` with other numbers of classes, as far as it has so many voxels; called by the number."""
    most = int(np.isin(subject.labels, subject.classes).sum())
    return [
        Subject(
            name=str(count),
            labels=split(subject.labels, subject.classes, subject.sampling, count),
            classes=tuple(range(1, count + 1)),
            sampling=subject.sampling,
        )
        for count in counts
        if count <= most
    ]


def cube(labels: NDArray[Any], sampling: Spacing, side: int) -> tuple[NDArray[Any], Spacing]:
    """`labels`, (z, y, x), and its sampling in side × side × side voxels; see CUBE_RECIPE."""
    places = [(2 * np.arange(side) + 1) * size // (2 * side) for size in labels.shape]
    z, y, x = (step * size / side for step, size in zip(sampling, labels.shape, strict=True))
    return np.ascontiguousarray(labels[np.ix_(*places)]), (z, y, x)


def split(labels: NDArray[Any], classes: tuple[int, ...], sampling: Spacing, count: int) -> NDArray[Any]:
    """`labels`, (z, y, x), with classes 1 … `count` for those it had; see SPLIT_RECIPE."""
    member = np.isin(labels, classes)
    points = np.argwhere(member) * np.array(sampling)
    seeds = np.random.default_rng(count).choice(len(points), count, replace=False)
    nearest = cKDTree(points[seeds]).query(points, workers=-1)[1]
    volume = np.zeros(labels.shape, np.uint8 if count < 256 else np.uint16)
    volume[member] = nearest + 1
    return volume
