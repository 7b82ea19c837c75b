"""Bodies for uploads: small volumes as the bytes of files, good and bad."""

from __future__ import annotations

import gzip
import io
import struct
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

SHAPE = (6, 10, 12)  # (z, y, x)
SPACING = (2.0, 0.5, 0.5)


def two_balls(seed: int = 0) -> NDArray[np.uint8]:
    """Labels 5 and 6 in a volume of SHAPE, (z, y, x); another mask for another seed."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:4, 2:6, 2:6] = 5
    labels[2:5, 5:9, 6:11] = 6
    labels[2 + seed % 3, 3, 3 + seed // 3 % 3] = 0
    return labels


def affine_of(spacing: tuple[float, float, float] = SPACING) -> NDArray[np.float64]:
    """(i, j, k, 1) to RAS+ mm, some way off the origin."""
    z, y, x = spacing
    affine = np.diag((x, y, z, 1.0))
    affine[:3, 3] = (-10.0, 20.0, 5.0)
    return affine


def nifti(array: NDArray[Any], affine: NDArray[np.float64] | None = None, *, compress: bool = True) -> bytes:
    """A NIfTI-1 file of a (z, y, x) array."""
    image = nib.Nifti1Image(array.T, affine_of() if affine is None else affine)
    raw: bytes = image.to_bytes()
    return gzip.compress(raw, 1, mtime=0) if compress else raw


def npy(array: NDArray[Any], *, pickle: bool = False) -> bytes:
    """A .npy file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=pickle)
    return file.getvalue()


def nifti_with_header(offset: int, form: str, *values: float) -> bytes:
    """An uncompressed NIfTI-1 file whose header has `values` (struct writes them by `form`) at `offset`."""
    raw = bytearray(nifti(two_balls(), compress=False))
    struct.pack_into(f"<{form}", raw, offset, *values)
    return bytes(raw)


def gzip_bomb() -> bytes:
    """A gzipped NIfTI of a few voxels, then half a gigabyte of zeros that its header does not mention."""
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=9, mtime=0) as zipped:
        zipped.write(nifti(two_balls(), compress=False))
        for _ in range(64):
            zipped.write(bytes(2**23))
    return file.getvalue()
