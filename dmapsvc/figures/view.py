"""Which slice of a case is shown, and how it lies on paper.

Reads labels only, and only to find the fullest slice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmapsvc.errors import BadInput
from dmapsvc.spec import coarsest_axis
from dmapsvc.store import Case

AXES = "zyx"
# Each axis of RAS+: what lies at its low end, at its high end.
_DIRECTIONS = (("L", "R"), ("P", "A"), ("I", "S"))


@dataclass(frozen=True, kw_only=True)
class View:
    """A slice and how it lies on paper.

    `rows` and `columns` are the array axes that run down and to the right, or up and to the left where
    flipped; `steps` their spacing; `edges` the patient's directions at top, bottom, left and right, empty
    where unknown.
    """

    axis: int
    index: int
    rows: int
    columns: int
    flips: tuple[bool, bool]
    steps: tuple[float, float]
    edges: str

    @property
    def selection(self) -> tuple[slice | int, ...]:
        """The slice's voxels in a (z, y, x) array."""
        return tuple(self.index if axis == self.axis else slice(None) for axis in range(3))

    def lay(self, plane: NDArray[Any]) -> NDArray[Any]:
        """A plane, its two array axes in order, as it lies on paper."""
        if self.rows > self.columns:
            plane = plane.T
        return plane[:: -1 if self.flips[0] else 1, :: -1 if self.flips[1] else 1]


def find_view(case: Case, axis: int | None, index: int | None) -> View:
    """The view of slice `index` through `axis`, by default the fullest one in-plane; raises BadInput."""
    record = case.record
    if axis is None:
        axis = coarsest_axis(record.spacing)
    if axis not in (0, 1, 2):
        raise BadInput(f"axis {axis}", "an axis is 0 (z), 1 (y) or 2 (x)")
    if index is None:
        index = _fullest_slice(case, axis)
    if not 0 <= index < record.shape[axis]:
        raise BadInput(
            f"slice {index} of axis {AXES[axis]}",
            f"case {case.name} has slices 0 to {record.shape[axis] - 1} there",
        )
    rows, columns = (a for a in range(3) if a != axis)
    flips, edges = (False, False), ""
    if record.affine is not None:
        rows, columns, flips, edges = _upright(np.asarray(record.affine), rows, columns)
    spacing = record.spacing or (1.0, 1.0, 1.0)
    return View(
        axis=axis,
        index=index,
        rows=rows,
        columns=columns,
        flips=flips,
        steps=(spacing[rows], spacing[columns]),
        edges=edges,
    )


def _upright(affine: NDArray[np.float64], first: int, second: int) -> tuple[int, int, tuple[bool, bool], str]:
    """Rows, columns, flips and edges: superior (else anterior) up, anterior (else right) to the left."""
    matrix = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    # The array's axes (z, y, x) are the affine's columns (i, j, k) reversed.
    towards = {axis: matrix[:, 2 - axis] for axis in (first, second)}
    up = 2 if max(abs(towards[first][2]), abs(towards[second][2])) > 0.5 else 1
    rows, columns = (
        (first, second) if abs(towards[first][up]) >= abs(towards[second][up]) else (second, first)
    )
    across = 1 if up == 2 and abs(towards[columns][1]) > abs(towards[columns][0]) else 0
    flips = (bool(towards[rows][up] > 0), bool(towards[columns][across] > 0))
    low, high = _DIRECTIONS[up], _DIRECTIONS[across]
    return rows, columns, flips, low[1] + low[0] + high[1] + high[0]


def _fullest_slice(case: Case, axis: int) -> int:
    """The slice through `axis` with the most foreground; the middle one if there is none.

    Read in slabs, one chunk thick, so that the memory is bounded.
    """
    values = class_values(case)
    size = case.record.shape[axis]
    thickness = max(1, case.label.chunks[axis])
    counts = np.zeros(size, dtype=np.int64)
    for start in range(0, size, thickness):
        stop = min(start + thickness, size)
        slab = case.read("label", tuple(slice(start, stop) if a == axis else slice(None) for a in range(3)))
        counts[start:stop] = np.count_nonzero(
            np.isin(slab, values), axis=tuple(a for a in range(3) if a != axis)
        )
    return int(np.argmax(counts)) if counts.any() else size // 2


def class_values(case: Case) -> list[int]:
    """The labels of a case that are classes, ascending."""
    return sorted(region.value for region in case.record.regions if region.value)
