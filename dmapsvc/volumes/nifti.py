"""NIfTI-1 and NIfTI-2, one file, plain or gzipped. nibabel reads the header; the voxels are plain bytes."""

from __future__ import annotations

import math
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from dmapsvc.errors import BadFile
from dmapsvc.volumes.grid import check_lengths, volume_shape, with_normal
from dmapsvc.volumes.source import Body, Source
from dmapsvc.volumes.stored import Stored

_MAGICS = {b"n+1\0": (344, 4), b"n+2\0": (4, 4), b"ni1\0": (344, 4), b"ni2\0": (4, 4)}
_NAMES = {"n+1": "NIfTI-1", "n+2": "NIfTI-2"}
_MM = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 1e-3}


def magic_of(head: bytes) -> str | None:
    """`n+1` or `n+2`, `ni1` or `ni2` (header and voxels in two files), None if this is no NIfTI."""
    for magic, (start, length) in _MAGICS.items():
        if head[start : start + length] == magic:
            return magic[:3].decode()
    return None


def open_nifti(source: Source) -> Stored:
    """The volume of a NIfTI file. Axes of 4-D and RGB files are channels.

    The affine is nibabel's choice (sform, else qform, else the scanner default), in the mm of `xyzt_units`.
    """
    magic = magic_of(source.inner_head)
    if magic not in _NAMES:
        raise BadFile(
            f"{source.name}: a NIfTI header whose voxels are in another file",
            "one file is one mask",
            "Save it as .nii or .nii.gz",
        )
    fields = _read_fields(source.inner_head, magic)
    stored_type, kinds = _number_type(fields, source.name)
    sizes = tuple(int(size) for size in fields["dim"][1 : 1 + _axes(fields, source.name)][::-1])
    shape = volume_shape(sizes[-3:] if len(sizes) > 3 else sizes, source.name)
    channels = math.prod(sizes[:-3]) * kinds
    body = Body(
        compression="gzip" if source.gzipped else "none",
        offset=0,
        skip=_offset(fields, source.name),
        size=math.prod(shape) * channels * stored_type.itemsize,
    )
    body.check(source)
    scaling = _scaling(fields)
    affine = _affine(fields, len(sizes), source.name)

    def load() -> NDArray[Any]:
        voxels = body.read(source).view(stored_type)
        if kinds > 1:
            return np.moveaxis(voxels.reshape(-1, *shape, kinds), -1, 1).reshape(-1, *shape)
        return voxels.reshape((channels, *shape) if channels > 1 else shape)

    return Stored.of(
        _NAMES[magic], load, shape=shape, dtype=stored_type, affine=affine, channels=channels, scaling=scaling
    )


def _read_fields(head: bytes, magic: str) -> Any:
    header: Any = nib.Nifti2Header if magic == "n+2" else nib.Nifti1Header
    size = header.template_dtype.itemsize
    return header(head[:size], check=False)


def _scaling(fields: Any) -> tuple[float, float]:
    slope, inter = fields.get_slope_inter()  # None where the header asks for no scaling
    return 1.0 if slope is None else float(slope), 0.0 if inter is None else float(inter)


def _axes(fields: Any, name: str) -> int:
    axes = int(fields["dim"][0])
    if not 1 <= axes <= 7:
        raise BadFile(
            f"{name}: its header speaks of {axes} axes", "NIfTI has 1 to 7", "Export or copy it again"
        )
    return axes


def _offset(fields: Any, name: str) -> int:
    offset = float(fields["vox_offset"])
    if not math.isfinite(offset):
        raise BadFile(f"{name}: its voxels would start at byte {offset}", remedy="Export or copy it again")
    return int(offset) or fields.single_vox_offset


def _number_type(fields: Any, name: str) -> tuple[np.dtype[Any], int]:
    """Numbers as stored, and how many of them a voxel has (3 for RGB, 4 for RGBA)."""
    kind = fields.get_data_dtype()
    if kind.names:
        return np.dtype(np.uint8), len(kind.names)
    if kind.kind not in "iuf" or kind.itemsize > 8:
        raise BadFile(
            f"{name}: its voxels are {kind}", "wanted integers or floats", "Export it as an integer type"
        )
    return kind, 1


def _affine(fields: Any, axes: int, name: str) -> NDArray[np.float64]:
    unit = _MM[_length_unit(fields)]
    check_lengths(fields["pixdim"][1 : 1 + min(axes, 3)].astype(np.float64) * unit, name)
    affine = np.array(fields.get_best_affine(), np.float64)
    affine[:3] *= unit
    return with_normal(affine) if axes < 3 else affine


def _length_unit(fields: Any) -> str:
    unit = int(fields["xyzt_units"]) & 7
    return {1: "meter", 2: "mm", 3: "micron"}.get(unit, "unknown")
