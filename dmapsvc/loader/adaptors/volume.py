"""A case whole, as the adaptors to other libraries take it: image, class indices and the distances D.

Patches are not cut here (`patchloader.py`), and nothing here knows torch.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from dmapsvc.loader.classes import Classes, check_classes, dataset_classes
from dmapsvc.loader.source import CaseSource
from dmapsvc.spec import Units
from dmapsvc.store import CaseRecord
from dmapsvc.store.classtable import class_table
from dmapsvc.store.mapped import MappedCase

_CORNER = (0, 0, 0)
_MOST_INT16_CLASSES = np.iinfo(np.int16).max


class CaseGrid:
    """What the record of a case says about its arrays, in the words of the adaptors.

    `maxima`, `means`: M and the mean Φ of each class's region, float32 (classes,), 0 where the case lacks it.
    `affine`: (i, j, k, 1) to RAS+ mm, float64; made of the spacing, or of 1 mm, where the case has none.
    `units`: of D, M and Φ. `smallest`: the step between the closest voxels, below which no D is.

    Raises BadLabels if the case has a label outside `classes`.
    """

    def __init__(self, name: str, record: CaseRecord, classes: Classes) -> None:
        check_classes(name, record, classes)
        self.maxima, self.means = np.zeros((2, len(classes)), np.float32)
        for region in record.regions:
            index = classes.index(region.value)
            self.maxima[index], self.means[index] = region.maximum, region.mean_phi
        spacing = record.spacing or (1.0, 1.0, 1.0)
        self.affine = np.diag([*spacing[::-1], 1.0]) if record.affine is None else np.array(record.affine)
        self.units: Units = record.spec.units
        self.smallest = 1.0 if self.units == "voxel" else min(spacing)


class CaseVolume:
    """The arrays of a case in the axis order of its file, (i, j, k), as MONAI and TorchIO have it: views of
    (z, y, x).

    Each call reads anew. Raises NotFound if there is no such case, BadLabels for a label outside `classes`,
    Damaged.
    """

    def __init__(self, source: CaseSource, name: str, classes: Classes) -> None:
        self._voxels, self._classes = MappedCase(source.folder(name), name), classes
        self.name, self.record = name, self._voxels.record
        self.grid = CaseGrid(name, self.record, classes)

    def image(self) -> NDArray[np.float32]:
        """The stored voxels, not normalised, (C, i, j, k); the case must have an image."""
        assert self.record.image is not None
        channels = self.record.image.channels
        image = np.empty((channels, *self.record.shape), np.float32)
        self._voxels.read_image(_CORNER, image, np.ones(channels, np.float32), np.zeros(channels, np.float32))
        return image.transpose(0, 3, 2, 1)

    def label(self) -> NDArray[np.signedinteger]:
        """Class indices, int16 (i, j, k), or int32 where they need it."""
        return self._label().T

    def distance(self) -> NDArray[np.float32]:
        """D = M − Φ, float32 (i, j, k), at least `grid.smallest`: what is 0 is padding."""
        step = self.record.quantisation
        factor = np.full(len(self._classes), -step.scale_factor, np.float32)
        distance = np.empty(self.record.shape, np.float32)
        self._voxels.read_phi(_CORNER, distance, self._label(), factor, self.grid.maxima - step.add_offset)
        # less where Φ was rounded up, or where there is no boundary and M is 0
        return np.maximum(distance, np.float32(self.grid.smallest), out=distance).T

    def _label(self) -> NDArray[np.signedinteger]:
        dtype = np.int16 if len(self._classes) <= _MOST_INT16_CLASSES else np.int32
        label = np.empty(self.record.shape, dtype)
        self._voxels.read_label(_CORNER, label, class_table(self._classes))
        return label


def frozen_classes(source: CaseSource, classes: Iterable[int] | None) -> Classes:
    """`classes`, or those of the cases published now; raises NotFound if these have none."""
    if classes is not None:
        return tuple(classes)
    return dataset_classes(source.spec, map(source.record, source.cases()))
