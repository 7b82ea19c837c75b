"""How far the boundary of a prediction lies from the truth's: HD95, the mean distance, and a value a voxel.

Distances are between centres of boundary voxels (see `boundaries`), in mm where a spacing is given.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from dmapsvc.evaluate.boundaries import boundary
from dmapsvc.evaluate.masks import Mask, checked_spacing, cropped, diagonal
from dmapsvc.spec import Spacing

_LEAF = 32  # points a leaf: a tree here is asked once, about as many points as it holds
_ASKED = 1 << 18  # places that are asked for at once: what else they take is small beside the tree
_SLACK = 1 + 1e-9  # the tree's own distances are rounded otherwise than those that are returned

Distances = NDArray[np.float64]


def hausdorff95(truth: Mask, prediction: Mask, spacing: Spacing | None = None) -> float:
    """HD95: of the distances from each boundary to the other the 95th percentile, the larger of the two.

    The robust form of the Hausdorff distance (Huttenlocher et al. 1993); a percentile is
    interpolated linearly between two distances, as NumPy and MONAI do. Masks are bool (z, y, x); `spacing` is
    (z, y, x) in mm, None counts in voxels. Both empty: 0, one empty: the volume's diagonal. Raises BadInput,
    GridMismatch.
    """
    return larger_percentile(
        surface_errors(truth, prediction, spacing), surface_errors(prediction, truth, spacing)
    )


def surface_distance(truth: Mask, prediction: Mask, spacing: Spacing | None = None) -> float:
    """The mean distance from the prediction's boundary to the truth's, one way.

    Units, empty masks and errors as in `hausdorff95`.
    """
    errors = surface_errors(prediction, truth, spacing)
    if not errors.size:
        return diagonal(truth.shape, checked_spacing(spacing)) if truth.any() else 0.0
    return float(errors.mean())


def surface_errors(truth: Mask, prediction: Mask, spacing: Spacing | None = None) -> Distances:
    """The distance from each boundary voxel of the truth to the prediction's boundary (Figure 2).

    In the order of the voxels, so that `volume[boundary(truth)] = surface_errors(truth, prediction)` puts
    each in its place. With an empty prediction each is the volume's diagonal. Units and errors as in
    `hausdorff95`.
    """
    sides = checked_spacing(spacing)
    pair = cropped(truth, prediction)
    found = nearest(boundary(pair.truth), boundary(pair.prediction), sides)
    return np.where(np.isinf(found), diagonal(truth.shape, sides), found)


def larger_percentile(there: Distances, back: Distances) -> float:
    """The larger 95th percentile of the distances each way; 0 where there are none at all."""
    return max((float(np.percentile(way, 95)) for way in (there, back) if way.size), default=0.0)


def nearest(places: Mask, others: Mask, spacing: Spacing, limit: float = math.inf) -> Distances:
    """From each voxel of `places`, in the order of the voxels, the distance to the nearest of `others`.

    inf where there is none, or none within `limit`. A distance is taken from whole steps times the spacing,
    float64, so that two places equally far apart are exactly equally far, wherever in the volume they lie.
    """
    at = np.flatnonzero(places)
    distances = np.where(others.reshape(-1)[at], 0.0, math.inf)
    there = np.flatnonzero(others)
    if distances.any() and len(there) and limit > 0:
        tree = _Tree(there, places.shape, spacing)
        for part in _parts(len(at)):
            apart = distances[part] > 0
            distances[part][apart] = tree.distances(at[part][apart], limit)
    return distances


def _parts(count: int) -> Iterator[slice]:
    return (slice(start, start + _ASKED) for start in range(0, count, _ASKED))


class _Tree:
    """The voxels of a volume of `shape` with the numbers `there`, to find the nearest of."""

    def __init__(self, there: NDArray[np.intp], shape: tuple[int, ...], spacing: Spacing) -> None:
        self._there, self._shape, self._sides = there, shape, np.asarray(spacing)
        points = np.empty((len(there), len(shape)))
        for part in _parts(len(there)):
            points[part] = self._places(there[part]) * self._sides
        self._tree = KDTree(points, leafsize=_LEAF, balanced_tree=False, compact_nodes=False)

    def distances(self, at: NDArray[np.intp], limit: float) -> Distances:
        """From each of the voxels with the numbers `at`; inf beyond `limit`."""
        here = self._places(at)
        index = np.asarray(self._tree.query(here * self._sides, distance_upper_bound=limit * _SLACK)[1])
        near = index < len(self._there)
        steps = (here[near] - self._places(self._there[index[near]])).T * self._sides[:, None]
        found = np.full(len(at), math.inf)
        found[near] = np.sqrt((steps**2).sum(axis=0))
        return found

    def _places(self, at: NDArray[np.intp]) -> NDArray[np.intp]:
        """(n, 3) of the voxels with these numbers."""
        return np.stack(np.unravel_index(at, self._shape), axis=-1)
