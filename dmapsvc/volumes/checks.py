"""What every volume must satisfy, whatever its format: of its header, and of its voxels.

Voxels are checked slab by slab, so that a large volume never has a second copy in a wider type.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmapsvc.errors import BadFile, BadLabels, BadSpec
from dmapsvc.spec import LARGEST_LABEL, LONGEST_SIDE, MOST_LABELS, SHORTEST_SIDE, Spacing, is_side
from dmapsvc.volumes.grid import check_lengths, is_flat
from dmapsvc.volumes.stored import Stored
from dmapsvc.volumes.volume import Header, Kind

_SLAB = 1 << 20  # voxels a slab: 8 MB as float64
_ROUNDING = 1e-4  # what a float32 slope may add to a whole label


def check_header(header: Header, kind: Kind, name: str) -> None:
    """Raise BadFile or BadLabels for all that a header shows to be wrong."""
    if header.voxels < 1 or header.channels < 1:
        raise BadFile(
            f"{name}: an axis has size 0 (z, y, x: {header.shape})", "wanted voxels along every axis"
        )
    if kind == "labels" and header.channels > 1:
        raise BadLabels(
            f"{name}: has {header.channels} values a voxel (4-D or colour)",
            "a label map has one",
            "Save one label map to a file",
        )
    if header.spacing is not None:
        check_lengths(header.spacing, name)
    if header.affine is not None and not np.isfinite(header.affine).all():
        raise BadFile(f"{name}: its affine has NaN or infinite numbers", remedy="Correct its header")
    if header.affine is not None and is_flat(header.affine):
        raise BadFile(
            f"{name}: its axes do not span a volume", "wanted three directions", "Correct its header"
        )


def check_spacing(spacing: Spacing) -> Spacing:
    """A spacing that the user gave, as floats; raises BadSpec unless it is three lengths of a voxel."""
    if len(spacing) != 3 or not all(map(is_side, spacing)):
        raise BadSpec(
            f"spacing {spacing}",
            f"wanted three positive lengths in mm, z, y, x, each from {SHORTEST_SIDE:g} to {LONGEST_SIDE:g}",
            "Like 0.7,0.36,0.36",
        )
    z, y, x = map(float, spacing)
    return z, y, x


def labels_of(stored: Stored, name: str) -> NDArray[Any]:
    """The voxels of a label map: (z, y, x), C order, the smallest unsigned type that holds the largest label.

    Raises BadLabels for NaN, infinite, fractional and negative voxels, labels above 2³² − 1, and more than
    65,535 distinct ones (0 apart), naming the first voxel as (z, y, x).
    """
    array = _load_numbers(stored)
    whole = array.dtype.kind in "iu" and not stored.scaled
    largest = _largest_integer(array, name) if whole else _largest_float(stored, array, name)
    smallest = np.min_scalar_type(largest)
    if whole:
        labels = np.ascontiguousarray(array.astype(smallest, copy=False))
    else:
        labels = np.empty(array.shape, smallest)
        for start, values in _values(stored, array):
            labels[start : start + len(values)] = np.rint(values)
    if largest > MOST_LABELS:
        _check_distinct(labels, name)
    return labels


def image_of(stored: Stored, name: str) -> NDArray[Any]:
    """The voxels of an image: (z, y, x) or (c, z, y, x), C order. Raises BadFile for NaN and infinity."""
    array = _load_numbers(stored)
    kind = np.dtype(np.float32) if stored.scaled else array.dtype.newbyteorder("=")
    image = np.ascontiguousarray(array, dtype=kind)
    if stored.scaled:
        image *= np.float32(stored.slope)
        image += np.float32(stored.inter)
    if kind.kind == "f":
        for start, slab in _slabs(image):
            bad = ~np.isfinite(slab)
            if bad.any():
                raise BadFile(
                    _voxel(name, slab, bad, start), "an image holds finite numbers", "Replace such voxels"
                )
    return image


def _load_numbers(stored: Stored) -> NDArray[Any]:
    """The voxels as stored, but False and True as 0 and 1: a file may keep any byte for True."""
    array = stored.load()
    return (array.view(np.uint8) != 0).view(np.uint8) if array.dtype.kind == "b" else array


def _largest_integer(array: NDArray[Any], name: str) -> int:
    smallest, largest = int(array.min()), int(array.max())
    if smallest < 0 or largest > LARGEST_LABEL:
        for start, slab in _slabs(array):
            _check_range(slab, name, start)
    return largest


def _largest_float(stored: Stored, array: NDArray[Any], name: str) -> int:
    largest = 0
    tolerance = _ROUNDING if stored.scaled else 0.0
    for start, values in _values(stored, array):
        whole = np.rint(values)
        with np.errstate(invalid="ignore"):
            bad = ~(np.abs(values - whole) <= tolerance)
        if bad.any():
            raise BadLabels(
                _voxel(name, values, bad, start),
                "a label map holds whole numbers",
                "Round it, or export the labels again",
            )
        _check_range(whole, name, start)
        largest = max(largest, int(whole.max()))
    return largest


def _check_range(slab: NDArray[Any], name: str, start: int) -> None:
    negative = slab < 0
    if negative.any():
        raise BadLabels(
            _voxel(name, slab, negative, start), "labels are not negative", "Give 'nothing' the value 0"
        )
    large = slab > LARGEST_LABEL
    if large.any():
        raise BadLabels(
            _voxel(name, slab, large, start), f"labels are at most {LARGEST_LABEL}", "Renumber them"
        )


def _check_distinct(labels: NDArray[Any], name: str) -> None:
    seen = np.empty(0, labels.dtype)
    for _, slab in _slabs(labels):
        flat = slab.reshape(-1)
        runs = flat[
            np.flatnonzero(np.diff(flat, prepend=~flat[:1]))
        ]  # label maps are long runs: sort those only
        seen = np.union1d(seen, runs[runs != 0])
        if len(seen) > MOST_LABELS:
            raise BadLabels(
                f"{name}: has more than {MOST_LABELS} distinct labels",
                "that many classes cannot be mapped",
                "Is this an image rather than a mask?",
            )


def _values(stored: Stored, array: NDArray[Any]) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Values of slabs along z, with the first z of each."""
    for start, slab in _slabs(array):
        values = slab.astype(np.float64)
        if stored.scaled:
            values = values * stored.slope + stored.inter
        yield start, values


def _slabs(array: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Slabs along the first axis, with the index of each one's first slice."""
    step = max(1, _SLAB * len(array) // max(1, array.size))
    for start in range(0, len(array), step):
        yield start, array[start : start + step]


def _voxel(name: str, slab: NDArray[Any], bad: NDArray[np.bool_], start: int) -> str:
    index = [int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape)]
    value = slab[tuple(index)]
    index[0] += start
    return f"{name}: voxel ({', '.join(map(str, index))}) is {value:g}"
