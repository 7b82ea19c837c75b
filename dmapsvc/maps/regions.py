"""From the values of a label map to compact region indices: 0 the background, i the i-th chosen label.

Here are the checks of what a label map is, and the pass that counts its voxels. Distances are measured
elsewhere, on the label map as it is and a table of regions by label.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmapsvc.errors import BadLabels
from dmapsvc.spec import LARGEST_LABEL, MOST_LABELS, MapSpec

_CHUNK = 1 << 20  # voxels looked at together; larger gains nothing


@dataclass(frozen=True, kw_only=True)
class RegionMap:
    """A label map and the region of each label: the region index of a voxel is `table[labels[z, y, x]]`.

    `labels`: uint8 or uint16 (z, y, x), C order; the caller's own array where it is such a one, and larger
    labels renumbered where it is not. `table`: uint8, or uint16 beyond 255 chosen labels, of as many entries
    as `labels` can have values. `values[i]` is the caller's label of index i, 0 for the background;
    `voxels[i]` how many voxels it has, 0 for a chosen label that is absent.
    """

    labels: NDArray[np.uint8] | NDArray[np.uint16]
    table: NDArray[np.uint8] | NDArray[np.uint16]
    values: tuple[int, ...]
    voxels: tuple[int, ...]

    @property
    def present(self) -> tuple[int, ...]:
        """The indices that have voxels, ascending."""
        return tuple(index for index, count in enumerate(self.voxels) if count)

    def indices(self) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """The region index of every voxel, (z, y, x), in an array of its own."""
        return self.table[self.labels]


def region_map(labels: NDArray[Any], spec: MapSpec) -> RegionMap:
    """The regions of `labels`, (z, y, x), of any integer type, byte order and memory layout; True is label 1.

    Raises BadLabels if `labels` is not a 3-D volume of whole numbers from 0 to 2³² − 1, has an axis of size
    0, or more than 65,535 distinct labels.
    """
    _check_array(labels)
    if labels.dtype.kind == "b":
        labels = (labels.view(np.uint8) != 0).view(np.uint8)
    native: NDArray[Any] = labels.astype(labels.dtype.newbyteorder("="), order="C", copy=False)
    voxels = _count_voxels(native.reshape(-1))
    classes = sorted(voxels.keys() - {0}) if spec.labels is None else spec.labels
    index = {label: i for i, label in enumerate(classes, start=1)}
    occurring = sorted(voxels)
    if native.dtype not in (np.uint8, np.uint16):
        native = _renumbered(native, occurring)
        index = {i: index[label] for i, label in enumerate(occurring) if label in index}
    counts = [voxels[label] for label in classes]
    return RegionMap(
        labels=native,
        table=_table(index, native.dtype, np.uint8 if len(classes) <= 255 else np.uint16),
        values=(0, *classes),
        voxels=(native.size - sum(counts), *counts),
    )


def _check_array(labels: NDArray[Any]) -> None:
    if labels.ndim != 3:
        raise BadLabels(f"an array with {labels.ndim} axes", "a label map has three, (z, y, x)")
    if 0 in labels.shape:
        raise BadLabels(f"a volume of {' x '.join(map(str, labels.shape))} voxels", "every axis has voxels")
    if labels.dtype.kind not in "biu":
        raise BadLabels(
            f"an array of {labels.dtype}", "a label map holds whole numbers", "Convert it to an integer type"
        )


def _count_voxels(flat: NDArray[Any]) -> Counter[int]:
    """Voxels by value; raises BadLabels at the first chunk that holds no labels."""
    if flat.dtype in (np.uint8, np.uint16):
        return _count_all_values(flat)
    voxels: Counter[int] = Counter()
    for start in range(0, flat.size, _CHUNK):
        values, lengths = _runs(flat[start : start + _CHUNK])
        distinct, which = np.unique(values, return_inverse=True)
        _check_values(int(distinct[0]), int(distinct[-1]))
        counts = np.bincount(which, weights=lengths).astype(np.int64)
        voxels.update(dict(zip(distinct.tolist(), counts.tolist(), strict=True)))
        _check_distinct(len(voxels) - (0 in voxels))
    return voxels


def _count_all_values(flat: NDArray[Any]) -> Counter[int]:
    """The same where every value is a label and the values are few: no sorting."""
    counts = np.zeros(np.iinfo(flat.dtype).max + 1, np.int64)
    for start in range(0, flat.size, _CHUNK):
        values, lengths = _runs(flat[start : start + _CHUNK])
        found = np.bincount(values, lengths).astype(np.int64)
        counts[: found.size] += found
    return Counter({int(label): int(counts[label]) for label in np.flatnonzero(counts)})


def _check_values(least: int, largest: int) -> None:
    if least < 0:
        raise BadLabels(
            f"a voxel is {least}", "labels are not negative", "Give that class a positive value, or 0"
        )
    if largest > LARGEST_LABEL:
        raise BadLabels(
            f"a voxel is {largest}", f"the largest label is {LARGEST_LABEL}", "Renumber the labels"
        )


def _check_distinct(labels: int) -> None:
    if labels > MOST_LABELS:
        raise BadLabels(
            f"more than {MOST_LABELS} distinct labels",
            f"a label map has at most {MOST_LABELS}",
            "Check that this is a label map and not an image",
        )


def _table(index: dict[int, int], labels: np.dtype[Any], dtype: type[np.uint8] | type[np.uint16]) -> Any:
    table = np.zeros(np.iinfo(labels).max + 1, dtype)
    for label, i in index.items():
        if label < len(table):  # a chosen label may be larger than any that the array can hold
            table[label] = i
    return table


def _renumbered(labels: NDArray[Any], occurring: list[int]) -> NDArray[Any]:
    """The place of each label among those that occur, in the smallest type that holds it."""
    numbered = np.empty(labels.shape, np.uint8 if len(occurring) <= 256 else np.uint16)
    flat, out, values_there = labels.reshape(-1), numbered.reshape(-1), np.array(occurring, np.int64)
    for start in range(0, flat.size, _CHUNK):
        values, lengths = _runs(flat[start : start + _CHUNK])
        out[start : start + _CHUNK] = np.repeat(
            np.searchsorted(values_there, values.astype(np.int64)), lengths
        )
    return numbered


def _runs(chunk: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Values and lengths of the runs of equal voxels: label maps have few, and each is looked up once."""
    starts = np.concatenate(([0], np.flatnonzero(chunk[1:] != chunk[:-1]) + 1))
    return chunk[starts], np.diff(starts, append=chunk.size)
