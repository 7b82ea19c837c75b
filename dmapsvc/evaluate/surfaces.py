"""NSD, the normalised surface Dice: how much of two surfaces, by area, is within a tolerance of the other."""

from __future__ import annotations

from dmapsvc.evaluate.cells import FULL, areas, codes
from dmapsvc.evaluate.distances import nearest
from dmapsvc.evaluate.masks import Mask, checked_spacing, checked_tolerance, cropped
from dmapsvc.spec import Spacing


def surface_dice(
    truth: Mask, prediction: Mask, *, spacing: Spacing | None = None, tolerance: float = 1.0
) -> float:
    """The share of both surfaces' area that lies at most `tolerance` from the other surface.

    The surface Dice of Nikolov et al. 2018 (arXiv 1809.04430), on surfaces drawn between voxel centres: equal
    to DeepMind's `surface-distance` and to MONAI with `use_subvoxels=True`. The distance is one between the
    centres of the cells that the surfaces pass through. Masks are bool (z, y, x), `spacing` (z, y, x) and
    `tolerance` in mm, or both in voxels where there is no spacing. From 0 to 1; both empty: 1, one empty: 0.
    Raises BadInput, GridMismatch.
    """
    sides = checked_spacing(spacing)
    pair = cropped(truth, prediction)
    return shared_area(pair.truth, pair.prediction, sides, checked_tolerance(tolerance))


def shared_area(truth: Mask, prediction: Mask, spacing: Spacing, tolerance: float) -> float:
    """`surface_dice` of two masks that are known to lie on one grid."""
    table = areas(spacing)
    first, second = codes(truth), codes(prediction)
    surfaces = [(found != 0) & (found != FULL) for found in (first, second)]
    within = total = 0.0
    for found, own, other in ((first, *surfaces), (second, *surfaces[::-1])):
        near = nearest(own, other, spacing, tolerance) <= tolerance
        area = table[found[own]]
        total += float(area.sum())
        within += float(area[near].sum())
    return within / total if total else 1.0
