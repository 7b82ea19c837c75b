"""Where the frames of a DICOM multi-frame object lie in space (DICOM PS3.3, C.7.6.16: functional groups)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmapsvc.errors import BadFile
from dmapsvc.volumes.grid import LPS_TO_RAS, check_lengths
from dmapsvc.volumes.volume import Shape

_MOST_PLANES = 65_535  # positions far apart must not promise a volume that no file holds
_OFF_GRID = 0.1  # of the spacing: what positions written as decimal text may be off


@dataclass(frozen=True, kw_only=True)
class Planes:
    """The grid that frames fill: `indices[f]` is the plane k of frame f; `affine` maps to RAS+ mm."""

    shape: Shape
    affine: NDArray[np.float64]
    indices: list[int]


def functional_group(attributes: Any, frame: int, group: str, name: str) -> Any:
    """The item of a functional group for a frame: its own, else the one that all frames share."""
    own = attributes.PerFrameFunctionalGroupsSequence[frame]
    found = own.get(group) or attributes.SharedFunctionalGroupsSequence[0].get(group)
    if not found:
        raise BadFile(
            f"{name}: frame {frame + 1} has no {group}", "wanted planes in space", "Export it again"
        )
    return found[0]


def planes_of(attributes: Any, name: str) -> Planes:
    """The grid of a multi-frame object; raises BadFile if its frames do not fill a regular one."""
    rows, columns, frames = (int(attributes.get(key, 0)) for key in ("Rows", "Columns", "NumberOfFrames"))
    there = len(attributes.PerFrameFunctionalGroupsSequence)
    if min(rows, columns, frames) < 1 or there != frames:
        raise BadFile(
            f"{name}: {frames} frames of {rows} x {columns}, {there} of them placed",
            "wanted every frame with a place",
            "Export it again",
        )
    in_plane = _in_plane(attributes, name)
    positions = np.array(
        [
            functional_group(attributes, frame, "PlanePositionSequence", name).ImagePositionPatient
            for frame in range(frames)
        ],
        np.float64,
    )
    indices, step = _stack(attributes, positions, in_plane, name)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = *in_plane, step
    affine[:3, 3] = positions[int(np.argmin(indices))]
    return Planes(
        shape=(int(indices.max()) + 1, rows, columns), affine=LPS_TO_RAS @ affine, indices=indices.tolist()
    )


def _in_plane(attributes: Any, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps in mm (LPS) along a row and along a column, the same for all frames."""
    seen = set()
    for frame in range(len(attributes.PerFrameFunctionalGroupsSequence)):
        orientation = functional_group(
            attributes, frame, "PlaneOrientationSequence", name
        ).ImageOrientationPatient
        spacing = functional_group(attributes, frame, "PixelMeasuresSequence", name).PixelSpacing
        seen.add((tuple(map(float, orientation)), tuple(map(float, spacing))))
    if len(seen) > 1:
        raise BadFile(
            f"{name}: its frames differ in orientation or spacing", "wanted one grid", "Resample it"
        )
    (orientation, (between_rows, between_columns)) = seen.pop()
    cosines = np.array(orientation).reshape(2, 3)
    check_lengths((between_rows, between_columns), name)
    return cosines[0] * between_columns, cosines[1] * between_rows


def _stack(
    attributes: Any,
    positions: NDArray[np.float64],
    in_plane: tuple[NDArray[np.float64], NDArray[np.float64]],
    name: str,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The plane of every frame, and the step in mm from plane to plane."""
    normal = np.cross(*in_plane)
    normal /= np.linalg.norm(normal)
    depths = positions @ normal
    depths -= depths.min()
    for spacing in _candidates(attributes, depths, name):
        if depths.max() > spacing * _MOST_PLANES:
            continue
        indices = np.rint(depths / spacing).astype(np.int64)
        first, last = int(np.argmin(indices)), int(np.argmax(indices))
        if last == first or indices[last] == 0:
            return indices, normal * spacing
        step = (positions[last] - positions[first]) / indices[last]
        off = positions - positions[first] - indices[:, np.newaxis] * step
        if np.linalg.norm(off, axis=1).max() <= _OFF_GRID * spacing:
            return indices, step
    raise BadFile(f"{name}: its planes are not evenly spaced", "wanted one grid", "Resample it")


def _candidates(attributes: Any, depths: NDArray[np.float64], name: str) -> list[float]:
    """What the distance between planes may be: as stated, else the smallest that occurs."""
    measures = functional_group(attributes, 0, "PixelMeasuresSequence", name)
    stated = [float(measures.get(key) or 0) for key in ("SpacingBetweenSlices", "SliceThickness")]
    apart = np.diff(np.sort(depths))
    found = apart[apart > 1e-3]
    candidates = [stated[0], float(found.min()) if len(found) else stated[1]]
    return [spacing for spacing in candidates if spacing > 0] or [1.0]
