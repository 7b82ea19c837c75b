"""MetaImage with its voxels attached (.mha). The header is a page of `Key = value` lines, read here as MetaIO
documents it (https://itk.org/Wiki/MetaIO/Documentation); the voxels are plain or zlib-compressed bytes.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmapsvc.errors import BadFile, printable
from dmapsvc.listing import first_few
from dmapsvc.volumes.grid import (
    LPS_TO_RAS,
    affine_from_axes,
    check_lengths,
    millimetres,
    volume_shape,
)
from dmapsvc.volumes.source import Body, Source
from dmapsvc.volumes.stored import Stored

_LONGEST_HEADER = 1 << 16
_OPENING = re.compile(rb"\s*(ObjectType|ObjectSubType|NDims|Comment)\s*=")
_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4",
    "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip  # MetaIO's long has four bytes on disk


def is_metaimage(head: bytes) -> bool:
    """Whether content opens like a MetaImage header."""
    return _OPENING.match(head) is not None


@dataclass(frozen=True)
class _Fields:
    """The header's values by key; `of` is the file's name."""

    values: dict[str, str]
    of: str

    def first(self, *keys: str) -> str | None:
        return next((self.values[key] for key in keys if key in self.values), None)

    def must(self, key: str) -> str:
        if key not in self.values:
            raise BadFile(f"{self.of}: its MetaImage header has no {key}", remedy="Export it again")
        return self.values[key]

    def numbers(self, count: int, *keys: str) -> NDArray[np.float64] | None:
        text = self.first(*keys)
        if text is None:
            return None
        numbers = np.array([float(part) for part in text.split()])
        if len(numbers) != count:
            raise BadFile(
                f"{self.of}: {keys[0]} has {len(numbers)} numbers", f"wanted {count}", "Export it again"
            )
        return numbers

    def true(self, *keys: str) -> bool:
        return (self.first(*keys) or "").lower() in ("true", "1")


def open_metaimage(source: Source) -> Stored:
    """The volume of a MetaImage file. The elements of a voxel are channels."""
    fields, length = _read_fields(source)
    _refuse_unusual(fields)
    axes = int(fields.must("NDims"))
    sizes = [int(part) for part in fields.must("DimSize").split()]
    if len(sizes) != axes:
        raise BadFile(
            f"{source.name}: {printable(str(axes), 20)} axes with sizes {printable(first_few(sizes))}",
            "wanted one size an axis",
            "Export it again",
        )
    shape = volume_shape(sizes[::-1], source.name)
    channels = int(fields.first("ElementNumberOfChannels") or 1)
    stored_type = _number_type(fields)
    body = Body(
        compression="zlib" if fields.true("CompressedData") else "none",
        offset=length,
        size=math.prod(shape) * channels * stored_type.itemsize,
    )
    body.check(source)
    affine = _affine(fields, axes)

    def load() -> NDArray[Any]:
        voxels = body.read(source).view(stored_type)
        return np.moveaxis(voxels.reshape(*shape, channels), -1, 0) if channels > 1 else voxels.reshape(shape)

    return Stored.of("MetaImage", load, shape=shape, dtype=stored_type, affine=affine, channels=channels)


def _read_fields(source: Source) -> tuple[_Fields, int]:
    source.file.seek(0)
    values: dict[str, str] = {}
    length = 0
    while length < _LONGEST_HEADER and (line := source.file.readline(_LONGEST_HEADER)):
        length += len(line)
        key, equals, value = line.decode("latin-1").partition("=")
        if equals:
            values[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":  # by definition the last line of the header
            return _Fields(values, source.name), length
    raise BadFile(f"{source.name}: its MetaImage header has no ElementDataFile", remedy="Export it again")


def _refuse_unusual(fields: _Fields) -> None:
    if fields.must("ElementDataFile") != "LOCAL":
        raise BadFile(
            f"{fields.of}: its header points at another file",
            "one file is one mask",
            "Save it as .mha with the voxels attached (not .mhd)",
        )
    if fields.first("BinaryData") is not None and not fields.true("BinaryData"):
        raise BadFile(
            f"{fields.of}: its voxels are written as text", "wanted binary voxels", "Save it as binary"
        )
    if int(fields.first("HeaderSize") or 0) != 0:
        raise BadFile(
            f"{fields.of}: skips bytes before its voxels (HeaderSize)", remedy="Save it without HeaderSize"
        )


def _number_type(fields: _Fields) -> np.dtype[Any]:
    kind = fields.must("ElementType").removesuffix("_ARRAY")
    if kind not in _TYPES:
        raise BadFile(
            f"{fields.of}: its voxels are {printable(kind, 40)}",
            "wanted integers or floats",
            "Export it again",
        )
    big = fields.true("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
    return np.dtype((">" if big else "<") + _TYPES[kind])


def _affine(fields: _Fields, axes: int) -> NDArray[np.float64] | None:
    """LPS as ITK writes it: row i of TransformMatrix is the direction of axis i."""
    spacing = fields.numbers(axes, "ElementSpacing", "ElementSize")
    if spacing is None:
        return None
    unit = fields.first("DistanceUnits") or "mm"
    scale = 1.0 if unit == "?" else millimetres(unit, fields.of)
    check_lengths(spacing * scale, fields.of)
    directions = fields.numbers(axes * axes, "TransformMatrix", "Rotation", "Orientation")
    origin = fields.numbers(axes, "Offset", "Position", "Origin")
    rows = np.eye(axes) if directions is None else directions.reshape(axes, axes)
    used = min(axes, 3)
    steps = (rows * spacing[:, np.newaxis])[:used, :used] * scale
    start = (np.zeros(axes) if origin is None else origin)[:used] * scale
    return LPS_TO_RAS @ affine_from_axes(steps, start)
