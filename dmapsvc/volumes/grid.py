"""Where voxels lie: shapes, affines and spacings of files, brought to (z, y, x) and RAS+ millimetres.

Pure arithmetic that every format shares; no file is touched here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmapsvc.errors import BadFile, BadSpec, GridMismatch, printable
from dmapsvc.listing import first_few
from dmapsvc.spec import LONGEST_SIDE, SHORTEST_SIDE, Spacing, is_side
from dmapsvc.volumes.volume import Header, Shape

LPS_TO_RAS: NDArray[np.float64] = np.diag([-1.0, -1.0, 1.0, 1.0])

MOST_SHEAR = 1e-3  # cosine of the angle between two axes above which distances in mm are refused
GRID_TOLERANCE = 1e-3  # of the spacing: writers round, and NIfTI keeps float32

_FLAT = 1e-6  # volume of the unit parallelepiped below which an affine maps no volume

_MM = {
    "mm": 1.0, "millimeter": 1.0, "millimeters": 1.0, "millimetre": 1.0,
    "cm": 10.0, "centimeter": 10.0, "m": 1000.0, "meter": 1000.0, "meters": 1000.0, "metre": 1000.0,
    "um": 1e-3, "µm": 1e-3, "micron": 1e-3, "microns": 1e-3, "micrometer": 1e-3, "micrometers": 1e-3,
}  # fmt: skip


def millimetres(unit: str, name: str) -> float:
    """How many mm a unit of length is; raises BadFile for one that is not known."""
    try:
        return _MM[unit.strip().lower()]
    except KeyError:
        raise BadFile(
            f"{name}: its lengths are in {printable(unit, 40)!r}",
            f"wanted one of {', '.join(_MM)}",
            "Export it in mm",
        ) from None


def check_lengths(lengths: ArrayLike, name: str) -> None:
    """Raise BadFile unless every length in mm that a header gives for a voxel is one (`is_side`)."""
    values = np.asarray(lengths, np.float64)
    if not all(map(is_side, values)):
        shown = ", ".join(f"{length:g}" for length in values)
        raise BadFile(
            f"{name}: its spacing is ({shown}) mm",
            f"a spacing is {SHORTEST_SIDE:g} to {LONGEST_SIDE:g} mm",
            "Correct its header",
        )


def volume_shape(sizes: Sequence[int], name: str) -> Shape:
    """(z, y, x) from the sizes of the spatial axes, slowest first; two of them are a slice, (1, y, x).

    Axes of size 1 before the third are dropped. Raises BadFile for any other number of axes.
    """
    shape = tuple(int(size) for size in sizes)
    if any(size < 0 for size in shape):
        raise BadFile(
            f"{name}: has sizes {printable(first_few(shape))} (z, y, x)",
            "no size is negative",
            "Copy or export it again",
        )
    while len(shape) > 3 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) == 2:
        shape = (1, *shape)
    if len(shape) != 3:
        raise BadFile(
            f"{name}: has {len(shape)} axes", "wanted a volume of three", "Save one volume to a file"
        )
    return shape[0], shape[1], shape[2]


def affine_from_axes(axes: ArrayLike, origin: ArrayLike) -> NDArray[np.float64]:
    """4×4 from the steps along i, j (and k) in mm, one a row, and the position of voxel (0, 0, 0).

    For a slice, k is the unit normal of the plane (spacing 1).
    """
    steps = np.zeros((3, 3))
    given = np.asarray(axes, np.float64)
    steps[: given.shape[0], : given.shape[1]] = given
    affine = np.eye(4)
    affine[:3, :3] = steps.T
    affine[: len(np.asarray(origin)), 3] = origin
    return with_normal(affine) if len(given) == 2 else affine


def with_normal(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """The affine of a slice with its third column replaced by the unit normal of the plane."""
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    length = float(np.linalg.norm(normal))
    done = affine.copy()
    done[:3, 2] = normal / length if length > 0 else (0.0, 0.0, 1.0)
    return done


def spacing_of(affine: NDArray[np.float64]) -> Spacing:
    """(z, y, x) in mm: the lengths of the affine's columns, turned round."""
    x, y, z = (math.sqrt(float(column @ column)) for column in affine[:3, :3].T)
    return z, y, x


def shear_of(affine: NDArray[np.float64]) -> float:
    """The largest cosine between two of the voxel axes: 0 where all are at right angles."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return float(np.abs(axes.T @ axes - np.eye(3)).max())


def is_flat(affine: NDArray[np.float64]) -> bool:
    """Whether the axes do not span a volume."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return abs(float(np.linalg.det(axes))) < _FLAT


def check_unsheared(header: Header, *, name: str = "mask") -> None:
    """Raise BadSpec if the axes are not at right angles: a spacing alone gives no distances in mm then."""
    if header.affine is None:
        return
    shear = shear_of(header.affine)
    if shear > MOST_SHEAR:
        raise BadSpec(
            f"{name}: its axes are sheared by {shear:.3g}",
            "distances in mm need axes at right angles",
            "Resample it, or ask for units=voxel",
        )


def check_same_grid(
    mask: Header, image: Header, *, mask_name: str = "mask", image_name: str = "image"
) -> None:
    """Raise GridMismatch unless both have one shape and, where both have it, one affine and spacing."""
    if mask.shape != image.shape:
        raise _mismatch(
            f"{image_name} is {_sizes(image.shape)} and {mask_name} is {_sizes(mask.shape)} voxels (z, y, x)"
        )
    if (
        mask.spacing
        and image.spacing
        and not np.allclose(mask.spacing, image.spacing, rtol=GRID_TOLERANCE, atol=0)
    ):
        raise _mismatch(
            f"{image_name} has spacing {_lengths(image.spacing)} and {mask_name} {_lengths(mask.spacing)}"
        )
    if mask.affine is None or image.affine is None or mask.spacing is None:
        return
    off = np.abs(mask.affine - image.affine).max() / min(mask.spacing)
    if off > GRID_TOLERANCE:
        raise _mismatch(
            f"the frame of {image_name} is not that of {mask_name}: their affines differ by {off:.3g} voxels"
        )


def _mismatch(found: str) -> GridMismatch:
    return GridMismatch(found, "image and mask lie on one grid", "Resample the image onto the mask's grid")


def _sizes(shape: Shape) -> str:
    return " x ".join(map(str, shape))


def _lengths(spacing: Spacing) -> str:
    return " x ".join(f"{length:.6g}" for length in spacing) + " mm (z, y, x)"
