"""FreeSurfer's MGH and MGZ. nibabel reads the header; the voxels are plain big-endian bytes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from nibabel.freesurfer.mghformat import MGHHeader
from numpy.typing import NDArray

from dmapsvc.errors import BadFile
from dmapsvc.volumes.grid import check_lengths, volume_shape
from dmapsvc.volumes.source import Body, Source
from dmapsvc.volumes.stored import Stored

_VERSION = b"\0\0\0\1"
_TYPES = (0, 1, 3, 4, 10)  # uint8, int32, float32, int16, uint16
_DATA = 284  # where the voxels start


def is_mgh(head: bytes) -> bool:
    """Whether (inflated) content opens like an MGH header: version 1 and a known number type."""
    return head[:4] == _VERSION and len(head) >= 24 and int.from_bytes(head[20:24], "big") in _TYPES


def open_mgh(source: Source) -> Stored:
    """The volume of an MGH or MGZ file; frames are channels. No frame where `goodRASFlag` is not set."""
    head = source.inner_head[:_DATA]
    if len(head) < _DATA:
        raise BadFile(f"{source.name}: ends within its header", "the file is truncated", "Copy it again")
    fields = MGHHeader(head.ljust(MGHHeader.template_dtype.itemsize, b"\0"), check=False)
    width, height, depth, frames = (int(size) for size in fields["dims"])
    shape = volume_shape((depth, height, width), source.name)
    stored_type: np.dtype[Any] = np.dtype(fields.get_data_dtype()).newbyteorder(">")
    body = Body(
        compression="gzip" if source.gzipped else "none",
        offset=0,
        skip=_DATA,
        size=math.prod(shape) * frames * stored_type.itemsize,
    )
    body.check(source)
    affine = _affine(fields, source.name)

    def load() -> NDArray[Any]:
        voxels = body.read(source).view(stored_type)
        return voxels.reshape((frames, *shape) if frames > 1 else shape)

    return Stored.of("MGH", load, shape=shape, dtype=stored_type, affine=affine, channels=frames)


def _affine(fields: Any, name: str) -> NDArray[np.float64] | None:
    if int(fields["goodRASFlag"]) != 1:
        return None
    check_lengths(fields["delta"], name)
    affine: NDArray[np.float64] = np.array(fields.get_affine(), np.float64)
    return affine
