"""NRRD with its voxels attached: raw, gzip or bzip2. pynrrd reads the header; the voxels are plain bytes."""

from __future__ import annotations

import io
import math
from typing import Any

import nrrd
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
from dmapsvc.volumes.source import Body, Compression, Source
from dmapsvc.volumes.stored import Stored

_LONGEST_HEADER = 1 << 20
_ENCODINGS: dict[str, Compression] = {
    "raw": "none", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2",
}  # fmt: skip
_TYPES = {
    "int8": "signed char, int8_t", "uint8": "uchar, unsigned char, uint8_t",
    "int16": "short, short int, signed short, signed short int, int16_t",
    "uint16": "ushort, unsigned short, unsigned short int, uint16_t",
    "int32": "int, signed int, int32_t", "uint32": "uint, unsigned int, uint32_t",
    "int64": "longlong, long long, long long int, signed long long, signed long long int, int64_t",
    "uint64": "ulonglong, unsigned long long, unsigned long long int, uint64_t",
    "float32": "float", "float64": "double",
}  # fmt: skip
_TYPE_OF = {word.strip(): code for code, words in _TYPES.items() for word in [code, *words.split(",")]}
_NOT_SPACE = {
    "list", "point", "vector", "covariant-vector", "normal", "stub", "scalar", "complex", "2-vector",
    "3-color", "rgb-color", "hsv-color", "xyz-color", "4-color", "rgba-color", "3-vector", "3-gradient",
    "3-normal", "4-vector", "quaternion", "2d-symmetric-matrix", "3d-symmetric-matrix", "time",
}  # fmt: skip
_RAS = np.eye(4)
_SPACES = {
    "right-anterior-superior": _RAS, "ras": _RAS,
    "left-anterior-superior": np.diag([-1.0, 1.0, 1.0, 1.0]), "las": np.diag([-1.0, 1.0, 1.0, 1.0]),
}  # fmt: skip


def open_nrrd(source: Source) -> Stored:
    """The volume of an NRRD file. Axes that are not spatial (colour, list, time) are channels.

    A space that is not anatomical, or none, counts as LPS, as ITK and 3D Slicer read it.
    """
    text = _header_text(source)
    fields = {key.lower(): value for key, value in nrrd.read_header(io.BytesIO(text)).items()}
    _refuse_unusual(fields, source.name)
    stored_type = _number_type(fields, source.name)
    sizes = [int(size) for size in fields["sizes"]]
    if len(sizes) != fields["dimension"]:
        raise BadFile(
            f"{source.name}: dimension {fields['dimension']} with sizes {printable(first_few(sizes))}",
            "one size an axis",
        )
    spatial = _spatial_axes(fields, len(sizes), source.name)
    shape = volume_shape([sizes[axis] for axis in reversed(spatial)], source.name)
    channels = math.prod(sizes) // math.prod(shape) if math.prod(shape) else 1
    affine = _affine(fields, spatial[:3], source.name)
    body = Body(
        compression=_ENCODINGS[fields["encoding"].lower()],
        offset=len(text),
        size=math.prod(sizes) * stored_type.itemsize,
    )
    body.check(source)

    def load() -> NDArray[Any]:
        voxels = body.read(source).view(stored_type).reshape(sizes[::-1])
        other = [axis for axis in range(len(sizes)) if axis not in spatial]
        ordered = voxels.transpose([len(sizes) - 1 - axis for axis in [*reversed(other), *reversed(spatial)]])
        return ordered.reshape((channels, *shape) if channels > 1 else shape)

    return Stored.of("NRRD", load, shape=shape, dtype=stored_type, affine=affine, channels=channels)


def _header_text(source: Source) -> bytes:
    source.file.seek(0)
    lines = []
    left = _LONGEST_HEADER
    while left > 0 and (line := source.file.readline(left)):
        lines.append(line)
        left -= len(line)
        if not line.strip():
            return b"".join(lines)
    if left <= 0:
        raise BadFile(
            f"{source.name}: its NRRD header goes on for more than a megabyte", remedy="Export it again"
        )
    lines.append(b"\n")  # a header alone: its fields say where the voxels are, or they are missing
    return b"".join(lines)


def _refuse_unusual(fields: dict[str, Any], name: str) -> None:
    for key in ("data file", "datafile"):
        if key in fields:
            raise BadFile(
                f"{name}: its header points at another file",
                "one file is one mask",
                "Save it as .nrrd with the voxels attached (not .nhdr)",
            )
    missing = [key for key in ("dimension", "type", "encoding", "sizes") if key not in fields]
    if missing:
        raise BadFile(f"{name}: its NRRD header has no {' and no '.join(missing)}", remedy="Export it again")
    if fields["encoding"].lower() not in _ENCODINGS:
        raise BadFile(
            f"{name}: its voxels are encoded as {printable(fields['encoding'], 40)!r}",
            "wanted raw, gzip or bzip2",
            "Save it with gzip",
        )
    skips = ("line skip", "lineskip", "byte skip", "byteskip")
    if any(fields.get(key, 0) for key in skips):
        raise BadFile(f"{name}: skips lines or bytes before its voxels", remedy="Save it without a skip")


def _number_type(fields: dict[str, Any], name: str) -> np.dtype[Any]:
    code = _TYPE_OF.get(fields["type"].lower())
    if code is None:
        raise BadFile(
            f"{name}: its voxels are {printable(fields['type'], 40)!r}", "wanted integers or floats"
        )
    dtype = np.dtype(code)
    if dtype.itemsize == 1:
        return dtype
    order = {"little": "<", "big": ">"}.get(str(fields.get("endian")).lower())
    if order is None:
        raise BadFile(
            f"{name}: its endian is {printable(str(fields.get('endian')), 40)!r}",
            "wanted little or big",
            "Export it again",
        )
    return dtype.newbyteorder(order)  # type: ignore[arg-type]


def _directions(fields: dict[str, Any]) -> list[NDArray[np.float64] | None] | None:
    rows = fields.get("space directions")
    if rows is None:
        return None
    vectors = [None if row is None else np.asarray(row, np.float64) for row in rows]
    return [None if row is None or np.isnan(row).all() else row for row in vectors]


def _spatial_axes(fields: dict[str, Any], axes: int, name: str) -> list[int]:
    """The axes along which voxels lie, fastest first."""
    directions = _directions(fields)
    if directions is not None:
        if len(directions) != axes:
            raise BadFile(f"{name}: {len(directions)} space directions for {axes} axes", "wanted one an axis")
        return [axis for axis in range(axes) if directions[axis] is not None]
    kinds = [kind.lower() for kind in fields.get("kinds", ["???"] * axes)]
    return [axis for axis in range(axes) if axis >= len(kinds) or kinds[axis] not in _NOT_SPACE]


def _affine(fields: dict[str, Any], spatial: list[int], name: str) -> NDArray[np.float64] | None:
    directions = _directions(fields)
    if directions is None:
        return _affine_of_spacings(fields, spatial, name)
    axes = np.array([directions[axis] for axis in spatial], np.float64)
    units = {millimetres(unit, name) for unit in fields.get("space units", []) if unit.strip()} or {1.0}
    if len(units) > 1:
        raise BadFile(f"{name}: its axes have different units", "wanted mm", "Export it in mm")
    origin = fields.get("space origin", np.zeros(axes.shape[1]))
    to_ras = _SPACES.get(str(fields.get("space", "")).lower(), LPS_TO_RAS)
    return to_ras @ affine_from_axes(axes * min(units), np.asarray(origin, np.float64) * min(units))


def _affine_of_spacings(fields: dict[str, Any], spatial: list[int], name: str) -> NDArray[np.float64] | None:
    if "spacings" not in fields:
        return None
    spacings = np.asarray(fields["spacings"], np.float64)
    if len(spacings) != fields["dimension"]:
        raise BadFile(
            f"{name}: {len(spacings)} spacings for {fields['dimension']} axes", "wanted one an axis"
        )
    axes = spacings[spatial]
    check_lengths(axes, name)
    return LPS_TO_RAS @ affine_from_axes(np.diag(axes), np.zeros(len(axes)))
