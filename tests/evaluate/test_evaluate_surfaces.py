"""NSD by hand, and of random blobs against DeepMind's surface-distance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmapsvc.errors import BadInput
from dmapsvc.evaluate.masks import Mask
from dmapsvc.evaluate.surfaces import surface_dice
from dmapsvc.spec import Spacing
from tests.evaluate.metric_masks import pairs, spacings
from tests.evaluate.metric_references import deepmind_surface_dice

pytestmark = pytest.mark.filterwarnings(
    "ignore:Please import:DeprecationWarning"
)  # surface-distance, of SciPy

tolerances = st.sampled_from((0.0, 0.36, 0.5, 0.72, 1.0, 1.5, 2.9, 6.0))


def one(x: int) -> Mask:
    mask = np.zeros((3, 3, 6), bool)
    mask[1, 1, x] = True
    return mask


def test_single_voxels_by_hand() -> None:
    assert surface_dice(one(1), one(1), tolerance=0) == 1
    assert surface_dice(one(1), one(2), tolerance=0) == pytest.approx(1 / 2)  # four of eight cells are shared
    assert surface_dice(one(1), one(2), tolerance=1) == 1
    assert surface_dice(one(1), one(3), tolerance=1) == pytest.approx(1 / 2)  # the other four lie 2 away
    assert surface_dice(one(1), one(3), spacing=(1, 1, 0.5), tolerance=1) == 1


def test_area_is_weighed_and_not_counted() -> None:
    truth, prediction = one(1), one(1) | one(2)
    corner, spacing = math.sqrt(3) / 8, (1.0, 1.0, 1.0)
    round_edges = 4 * math.sqrt(1 / 2)  # of the cells between the two voxels
    within = 8 * corner + 4 * corner + round_edges  # all of the truth; of the prediction all but its end
    total = 8 * corner + 8 * corner + round_edges
    assert surface_dice(truth, prediction, spacing=spacing, tolerance=0.5) == pytest.approx(within / total)


@given(pairs(filled=True), spacings, tolerances)
def test_equals_surface_distance(pair: tuple[Mask, Mask], spacing: Spacing, tolerance: float) -> None:
    found = surface_dice(*pair, spacing=spacing, tolerance=tolerance)
    assert found == pytest.approx(deepmind_surface_dice(*pair, spacing, tolerance), abs=1e-12)


@given(pairs(), spacings, tolerances, tolerances)
def test_a_larger_tolerance_never_finds_less(
    pair: tuple[Mask, Mask], spacing: Spacing, first: float, second: float
) -> None:
    less, more = (surface_dice(*pair, spacing=spacing, tolerance=each) for each in sorted((first, second)))
    assert 0 <= less <= more + 1e-12 <= 1 + 2e-12


def test_empty_masks() -> None:
    empty = np.zeros((3, 3, 6), bool)
    assert surface_dice(empty, empty, tolerance=1) == 1
    assert surface_dice(empty, one(1), tolerance=9) == surface_dice(one(1), empty, tolerance=9) == 0


@pytest.mark.parametrize("tolerance", [-1.0, math.nan, math.inf])
def test_a_tolerance_is_a_length(tolerance: float) -> None:
    with pytest.raises(BadInput, match="tolerance"):
        surface_dice(one(1), one(1), tolerance=tolerance)


@pytest.mark.parametrize("spacing", [(0.0, 1.0, 1.0), (1.0, math.nan, 1.0)])
def test_a_spacing_is_three_lengths(spacing: Spacing) -> None:
    with pytest.raises(BadInput, match="spacing"):
        surface_dice(one(1), one(1), spacing=spacing, tolerance=1)
