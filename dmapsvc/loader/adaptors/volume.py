"""A case whole, as the adaptors to other libraries take it: image, class indices and the distances D.

Patches are not cut here (`patchloader.py`), and nothing here knows torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dmapsvc.loader.classes import Classes, check_classes, dataset_classes
from dmapsvc.loader.source import CaseSource
from dmapsvc.spec import Units
from dmapsvc.store import CaseRecord
from dmapsvc.store.classtable import class_table
from dmapsvc.store.mapped import MappedCase

_CORNER = (0, 0, 0)


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

    Each call reads anew, but for the label map, which is kept. Raises NotFound if there is no such case,
    BadLabels for a label outside `classes`, Damaged.
    """

    def __init__(self, source: CaseSource, name: str, classes: Classes) -> None:
        self._voxels, self._table = MappedCase(source.folder(name), name), class_table(classes)
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
        return self._label.T

    def distance(self) -> NDArray[np.float32]:
        """D = M − Φ, at least `grid.smallest`, and ones, float32 (2, i, j, k).

        The ones go where D goes, so that they say of each voxel later how much of it is not padding.
        """
        step = self.record.quantisation
        factor = np.full_like(self.grid.maxima, -step.scale_factor)
        both = np.ones((2, *self.record.shape), np.float32)
        distance = both[0]
        self._voxels.read_phi(_CORNER, distance, self._label, factor, self.grid.maxima - step.add_offset)
        # less where Φ was rounded up, or where there is no boundary and M is 0
        np.maximum(distance, np.float32(self.grid.smallest), out=distance)
        return both.transpose(0, 3, 2, 1)

    @cached_property
    def _label(self) -> NDArray[np.signedinteger]:
        label = np.empty(self.record.shape, self._table.lookup.dtype)
        self._voxels.read_label(_CORNER, label, self._table)
        return label


def frozen_classes(source: CaseSource, classes: Iterable[int] | None) -> Classes:
    """`classes`, or those of the cases published now.

    Raises BadInput for classes without 0 first or with a value twice, NotFound if the cases have none.
    """
    if classes is not None:
        frozen = tuple(classes)
        class_table(frozen)
        return frozen
    return dataset_classes(source.spec, map(source.record, source.cases()))
