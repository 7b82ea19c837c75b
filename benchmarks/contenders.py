"""Φ of a label map by what people use today: SciPy, edt, SimpleITK, MONAI. And by dmapsvc.

A function each, from label values to the finished map, written as a careful user of that library would. Who
runs, and how it is timed, is not decided here. Everything is (z, y, x); `sampling` is the distance between
neighbouring voxels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dmapsvc.spec import MapSpec, Spacing

Classes = tuple[int, ...]
Phi = NDArray[np.float32]
Way = Callable[[NDArray[Any], Classes, Spacing], NDArray[Any]]
"""From labels, the values that are classes, and the sampling to Φ."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A label map in a .npy file, and what is asked of it: the same for every contender."""

    labels: Path
    classes: Classes
    sampling: Spacing


def scipy_volumes(labels: NDArray[Any], classes: Classes, sampling: Spacing) -> Phi:
    """SciPy as the data loaders of the field call it: one transform of the whole volume a region."""
    phi = np.zeros(labels.shape, np.float32)
    for member in _members(labels, classes):
        distances = ndimage.distance_transform_edt(member, sampling=sampling)
        phi[member] = (distances.max() - distances)[member]
    return phi


def monai_transform(labels: NDArray[Any], classes: Classes, sampling: Spacing) -> Phi:
    """MONAI's `DistanceTransformEDT` on a channel a region; without a GPU it calls SciPy on each."""
    from monai.transforms.post.array import DistanceTransformEDT

    members = np.stack(list(_members(labels, classes)))
    distances = np.asarray(DistanceTransformEDT(sampling=list(sampling))(members))
    phi = np.zeros(labels.shape, np.float32)
    for member, inside in zip(members, distances, strict=True):
        phi[member] = (inside.max() - inside)[member]
    return phi


def maurer(labels: NDArray[Any], classes: Classes, sampling: Spacing, *, threads: int) -> Phi:
    """SimpleITK's `SignedMaurerDistanceMap`, once a region.

    It measures outside an object to the object's nearest voxel, but inside to the object's own outermost
    voxels: a step less than SciPy. So the object is all that is *not* the region, and the region its outside.
    """
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    phi = np.zeros(labels.shape, np.float32)
    for member in _members(labels, classes):
        others = sitk.GetImageFromArray((~member).view(np.uint8))
        others.SetSpacing(sampling[::-1])
        image = sitk.SignedMaurerDistanceMap(others, squaredDistance=False, useImageSpacing=True)
        distances = sitk.GetArrayViewFromImage(image)
        phi[member] = (distances[member].max() - distances)[member]
    return phi


def edt_distances(labels: NDArray[Any], classes: Classes, sampling: Spacing, *, threads: int) -> Phi:
    """D alone by edt's multi-label transform: not Φ yet, and so a bound on what edt could do at best."""
    return _edt(_regions(labels, classes), sampling, threads)


def edt_phi(labels: NDArray[Any], classes: Classes, sampling: Spacing, *, threads: int) -> Phi:
    """Edt's multi-label transform, then maximum − D a plane at a time: the fastest way found in NumPy.

    edt takes 0 for nothing, so the background is region 1.
    """
    regions = _regions(labels, classes)
    phi = _edt(regions, sampling, threads)
    maxima = np.zeros(len(classes) + 2, np.float32)
    for members, distances in zip(regions, phi, strict=True):
        np.maximum.at(maxima, members.ravel(), distances.ravel())
    for members, distances in zip(regions, phi, strict=True):
        np.subtract(maxima.take(members), distances, out=distances)
    return phi


def dmapsvc_phi(
    labels: NDArray[Any], classes: Classes, sampling: Spacing, *, backend: str, threads: int
) -> Phi:
    """`dmapsvc.penalty_map`: float32, as people use it."""
    from dmapsvc.maps import penalty_map

    spec = MapSpec(labels=classes, units="mm")
    return penalty_map(labels, sampling, spec, backend=backend, threads=threads).values


def dmapsvc_stored(
    labels: NDArray[Any], classes: Classes, sampling: Spacing, *, backend: str, threads: int
) -> NDArray[np.uint16]:
    """`dmapsvc.maps.quantised_map`: uint16, as `precompute` and the service store it."""
    from dmapsvc.maps import quantised_map

    spec = MapSpec(labels=classes, units="mm")
    return quantised_map(labels, sampling, spec, backend=backend, threads=threads).values


def prepare(task: Task, way: Way, warm: bool) -> Callable[[], object]:
    """What is measured, with the labels in memory; `warm`: it has been done once, so that it is compiled."""
    labels = np.load(task.labels)
    work = partial(way, labels, task.classes, task.sampling)
    if warm:
        work()
    return work


def _members(labels: NDArray[Any], classes: Classes) -> Iterator[NDArray[np.bool_]]:
    """Which voxels are of the background, then of each class; regions without voxels are left out."""
    for member in (~np.isin(labels, classes), *(labels == value for value in classes)):
        if member.any():
            yield member


def _regions(labels: NDArray[Any], classes: Classes) -> NDArray[Any]:
    """1 for the background, 2 … for the classes, as narrow as it goes."""
    largest = max(*classes, int(labels.max()))
    table = np.ones(largest + 1, np.uint8 if len(classes) < 255 else np.uint16)
    table[list(classes)] = np.arange(2, len(classes) + 2)
    return table.take(labels)


def _edt(regions: NDArray[Any], sampling: Spacing, threads: int) -> Phi:
    import edt

    distances: Phi = edt.edt(regions, anisotropy=sampling, parallel=threads)
    return distances
