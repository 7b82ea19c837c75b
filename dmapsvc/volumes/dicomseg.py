"""DICOM segmentations (DICOM-SEG), one class a voxel. pydicom parses; only grid, segment numbers and frames
are asked for, never a patient's or a study's attributes.

Frames may come in any order, and writers leave out empty ones: `dicomgrid` says where each one lies.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, SegmentationStorage

from dmapsvc.errors import BadFile, BadLabels, printable
from dmapsvc.volumes.dicomgrid import Planes, functional_group, planes_of
from dmapsvc.volumes.dicomparse import read_elements, read_meta, read_pixels
from dmapsvc.volumes.source import Source, ends_early
from dmapsvc.volumes.stored import Stored

_LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"  # label map segmentation storage: pydicom 3.0 has no name for it
_NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
_RLE_RATIO = 64  # two bytes stand for 128 at most (DICOM PS3.5, annex G)
_PIXELS = [
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation",
]  # fmt: skip
_GRID = [
    "SOPClassUID",
    "SegmentationType",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]


def open_dicomseg(source: Source) -> Stored:
    """The label map of a DICOM-SEG: each segment's voxels hold its segment number.

    k runs along the normal of the planes (rows × columns); planes without any frame are empty. Raises
    BadLabels for fractional segmentations and, once the frames are read, for segments that overlap.
    """
    _check_syntax(source)
    attributes = read_elements(source, [*_PIXELS, *_GRID])
    _check_kind(attributes, source.name)
    planes = planes_of(attributes, source.name)
    _check_size(attributes, source, planes)
    binary = attributes.SegmentationType == "BINARY"
    segments = (
        [_segment(attributes, frame, source.name) for frame in range(len(planes.indices))] if binary else []
    )
    if binary and min(segments) < 1:
        raise BadLabels(f"{source.name}: has a segment of number {min(segments)}", "segments count from 1")
    kind = np.min_scalar_type(max(segments)) if binary else np.dtype(f"u{int(attributes.BitsAllocated) // 8}")

    def load() -> NDArray[Any]:
        labels = np.zeros(planes.shape, kind)
        frames = _frames(source, attributes)
        if not binary:
            for index, frame in zip(planes.indices, frames, strict=True):
                labels[index] = frame
            return labels
        _combine(labels, zip(planes.indices, segments, frames, strict=True), source.name)
        return labels

    return Stored.of("DICOM-SEG", load, shape=planes.shape, dtype=kind, affine=planes.affine)


def _check_kind(attributes: Any, name: str) -> None:
    if attributes.get("SOPClassUID") not in (SegmentationStorage, _LABEL_MAP):
        what = pydicom.uid.UID(attributes.get("SOPClassUID", "")).name or "no known class"
        raise BadFile(
            f"{name}: a DICOM file ({printable(what)})",
            "of DICOM only segmentations (DICOM-SEG) are read",
            "Convert the series to NIfTI or NRRD",
        )
    if attributes.SegmentationType not in ("BINARY", "LABELMAP"):
        raise BadLabels(
            f"{name}: a {printable(str(attributes.SegmentationType).lower(), 40)} segmentation",
            "a label map has one class a voxel",
            "Export it as binary",
        )
    bits = (1,) if attributes.SegmentationType == "BINARY" else (8, 16)
    if int(attributes.BitsAllocated) not in bits or int(attributes.get("SamplesPerPixel", 1)) != 1:
        raise BadFile(
            f"{name}: has {attributes.BitsAllocated} bits a voxel", f"wanted {' or '.join(map(str, bits))}"
        )


def _check_syntax(source: Source) -> None:
    """Before pydicom parses: a deflated file would be inflated whole, whatever its size."""
    syntax = read_meta(source).TransferSyntaxUID
    if syntax not in (*_NATIVE, RLELossless):
        raise BadFile(
            f"{source.name}: its voxels are compressed as {printable(syntax.name)}",
            "wanted them plain or run-length encoded",
            "Save it uncompressed",
        )


def _check_size(attributes: Any, source: Source, planes: Planes) -> None:
    syntax = attributes.file_meta.TransferSyntaxUID
    promised = _frame_bits(attributes) * len(planes.indices) // 8
    there = source.size - source.file.tell()  # pydicom stopped before the voxels
    if promised > there * (1 if syntax in _NATIVE else _RLE_RATIO):
        raise ends_early(source.name, there, promised)


def _segment(attributes: Any, frame: int, name: str) -> int:
    group = functional_group(attributes, frame, "SegmentIdentificationSequence", name)
    return int(group.ReferencedSegmentNumber)


def _frame_bits(attributes: Any) -> int:
    return int(attributes.Rows) * int(attributes.Columns) * int(attributes.BitsAllocated)


def _frames(source: Source, attributes: Any) -> Iterator[NDArray[Any]]:
    """The frames one by one, (rows, columns)."""
    pixels = read_pixels(source, _PIXELS)
    promised = math.ceil(_frame_bits(attributes) * int(attributes.NumberOfFrames) / 8)
    if "PixelData" not in pixels or (
        attributes.file_meta.TransferSyntaxUID in _NATIVE and len(pixels.PixelData) < promised
    ):
        raise ends_early(source.name, len(pixels.get("PixelData") or b""), promised)
    if attributes.BitsAllocated == 1:
        return _unpacked(pixels.PixelData, attributes)
    return iter_pixels(pixels)


def _unpacked(packed: bytes, attributes: Any) -> Iterator[NDArray[np.uint8]]:
    """Frames of single bits, the lowest first, right behind one another (pydicom wants whole bytes)."""
    shape = (int(attributes.Rows), int(attributes.Columns))
    size = math.prod(shape)
    octets = np.frombuffer(packed, np.uint8)
    for start in range(0, size * int(attributes.NumberOfFrames), size):
        bits = np.unpackbits(octets[start // 8 : (start + size + 7) // 8], bitorder="little")
        yield bits[start % 8 :][:size].reshape(shape)


def _combine(labels: NDArray[Any], frames: Iterator[tuple[int, int, NDArray[Any]]], name: str) -> None:
    """Write each frame's segment number into its plane; BadLabels names the segments that share voxels."""
    shared: Counter[tuple[int, int]] = Counter()
    for index, segment, frame in frames:
        plane = labels[index]
        mine = frame != 0
        other, counts = np.unique(plane[mine], return_counts=True)
        for value, count in zip(other.tolist(), counts.tolist(), strict=True):
            if value not in (0, segment):
                shared[min(value, segment), max(value, segment)] += count
        plane[mine] = segment
    if shared:
        pairs = ", ".join(f"{a} and {b} ({count} voxels)" for (a, b), count in sorted(shared.items())[:10])
        raise BadLabels(
            f"{name}: segments overlap: {pairs}",
            "a label map has one class a voxel",
            "Export the segments that you need to files of their own",
        )
