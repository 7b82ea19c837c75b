"""All metrics of one class in one go, from intermediate results that they share. No formula lives here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmapsvc.evaluate.boundaries import boundary, relaxed_dice
from dmapsvc.evaluate.distances import larger_percentile, nearest
from dmapsvc.evaluate.masks import Mask, checked_spacing, checked_tolerance, cropped, diagonal
from dmapsvc.evaluate.overlap import coefficient
from dmapsvc.evaluate.surfaces import shared_area
from dmapsvc.spec import Spacing

_RELAXED = (0, 1, 2, 3, 4)  # voxels: the tolerances of the paper's Figure 3 (b)–(f)


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What a prediction of one class is worth. Never NaN: docs/metrics.md says what an empty mask gives.

    Overlaps are from 0 to 1, `hd95` and `asd` in the unit of the spacing that was given.
    """

    g_dsc: float  # of the masks
    b_dsc: float  # of their boundaries
    b_dsc_1: float  # of their boundaries, dilated by that many voxels
    b_dsc_2: float
    b_dsc_3: float
    b_dsc_4: float
    nsd: float  # of their surfaces, at a tolerance
    hd95: float
    asd: float  # from the prediction's boundary to the truth's
    truth_voxels: int
    predicted_voxels: int


def measure(
    truth: Mask, prediction: Mask, *, spacing: Spacing | None = None, tolerance: float = 1.0
) -> Measures:
    """Every metric of two bool masks (z, y, x); each equals the function of its own.

    `spacing` is (z, y, x) in mm and `tolerance`, that of the NSD, is in mm; both in voxels where there is no
    spacing. Raises BadInput, GridMismatch.
    """
    sides, tolerance = checked_spacing(spacing), checked_tolerance(tolerance)
    pair = cropped(truth, prediction)
    counts = [int(np.count_nonzero(mask)) for mask in (pair.truth, pair.prediction)]
    if not all(counts):
        return _empty(counts, diagonal(truth.shape, sides))
    outlines = boundary(pair.truth), boundary(pair.prediction)
    relaxed = relaxed_dice(*outlines, pair.room, _RELAXED)
    missed = nearest(outlines[0], outlines[1], sides)
    strayed = nearest(outlines[1], outlines[0], sides)
    return Measures(
        g_dsc=coefficient(pair.truth, pair.prediction),
        b_dsc=relaxed[0],
        b_dsc_1=relaxed[1],
        b_dsc_2=relaxed[2],
        b_dsc_3=relaxed[3],
        b_dsc_4=relaxed[4],
        nsd=shared_area(pair.truth, pair.prediction, sides, tolerance),
        hd95=larger_percentile(missed, strayed),
        asd=float(strayed.mean()),
        truth_voxels=counts[0],
        predicted_voxels=counts[1],
    )


def class_measures(
    truth: NDArray[Any],
    prediction: NDArray[Any],
    labels: Sequence[int],
    *,
    spacing: Spacing | None = None,
    tolerance: float = 1.0,
) -> dict[int, Measures]:
    """`measure` for each of the labels of two label maps (z, y, x), any whole-number types."""
    return {
        label: measure(truth == label, prediction == label, spacing=spacing, tolerance=tolerance)
        for label in labels
    }


def _empty(counts: Sequence[int], diagonal: float) -> Measures:
    """Of two masks of which at least one is empty."""
    overlap, distance = (0.0, diagonal) if any(counts) else (1.0, 0.0)
    return Measures(
        g_dsc=overlap,
        b_dsc=overlap,
        b_dsc_1=overlap,
        b_dsc_2=overlap,
        b_dsc_3=overlap,
        b_dsc_4=overlap,
        nsd=overlap,
        hd95=distance,
        asd=distance,
        truth_voxels=counts[0],
        predicted_voxels=counts[1],
    )
