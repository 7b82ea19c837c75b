"""Writing voxels as NIfTI, on the grid of the volume that they belong to. Reading is in `reading.py`."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmapsvc.spec import Spacing
from dmapsvc.whole import whole

_LEVEL = 1  # gzip's; chosen: a level more is a third slower and hardly smaller on float32 Φ
_LONGEST_AXIS = 2**15 - 1  # voxels; NIfTI-1 keeps a shape as int16


def write_labels(
    path: Path,
    labels: NDArray[np.unsignedinteger[Any]],
    *,
    spacing: Spacing | None = None,
    affine: ArrayLike | None = None,
) -> None:
    """Write `labels`, (z, y, x), to `path`, a `.nii.gz`, whole or not at all; the grid as for `write_nifti`.

    Raises OSError.
    """
    with whole(path) as file:
        write_nifti(file, labels, spacing=spacing, affine=affine)


def write_nifti(
    file: BinaryIO,
    array: NDArray[Any],
    *,
    spacing: Spacing | None = None,
    affine: ArrayLike | None = None,
    description: str = "",
) -> None:
    """Write `array`, (z, y, x), to `file` as gzipped NIfTI, axes (i, j, k), in mm; the same input, the same
    bytes.

    `affine` maps (i, j, k, 1) to RAS+ mm; without one, axes along R, A, S by `spacing`, (z, y, x) in mm, and
    without that 1 mm. It is NIfTI-1, or NIfTI-2 where an axis is longer than NIfTI-1 can say (32,767).
    """
    z, y, x = spacing or (1.0, 1.0, 1.0)
    matrix = np.diag((x, y, z, 1.0)) if affine is None else np.asarray(affine, np.float64)
    kind: type[nib.Nifti1Image] = nib.Nifti1Image if max(array.shape) <= _LONGEST_AXIS else nib.Nifti2Image
    image = kind(array.T, matrix)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = description
    with gzip.GzipFile(fileobj=file, mode="wb", filename="", compresslevel=_LEVEL, mtime=0) as zipped:
        image.to_stream(zipped)
