"""Whether an image lies on the grid of a published label map; the readers' own check is in `volumes`."""

from __future__ import annotations

import numpy as np

from dmapsvc.errors import GridMismatch
from dmapsvc.store.record import CaseRecord, ImageRecord

TOLERANCE = 1e-3  # of the spacing: writers round, and NIfTI keeps float32


def check_image_grid(case: str, label: CaseRecord, image: ImageRecord) -> None:
    """Raise GridMismatch unless both have one shape and, where both have it, one spacing and affine."""
    if label.shape != image.shape:
        raise _mismatch(case, f"the image is {image.shape} and the mask {label.shape} voxels (z, y, x)")
    if label.spacing is None or image.spacing is None:
        return
    if not np.allclose(label.spacing, image.spacing, rtol=TOLERANCE, atol=0):
        raise _mismatch(
            case, f"the image's spacing is {image.spacing} and the mask's {label.spacing} mm (z, y, x)"
        )
    if label.affine is None or image.affine is None:
        return
    off = float(np.abs(np.subtract(label.affine, image.affine)).max()) / min(label.spacing)
    if off > TOLERANCE:
        raise _mismatch(case, f"the affines of image and mask differ by {off:.3g} voxels")


def _mismatch(case: str, found: str) -> GridMismatch:
    return GridMismatch(
        f"case {case!r}: {found}",
        "image and mask lie on one grid",
        "Resample one onto the other's grid, or delete the case to start again",
    )
