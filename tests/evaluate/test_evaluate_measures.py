"""All metrics at once: the same as each alone, whatever the orientation, and never NaN."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmapsvc.evaluate.boundaries import boundary_dice
from dmapsvc.evaluate.distances import hausdorff95, surface_distance
from dmapsvc.evaluate.masks import Mask
from dmapsvc.evaluate.measures import Measures, class_measures, measure
from dmapsvc.evaluate.overlap import dice
from dmapsvc.evaluate.surfaces import surface_dice
from dmapsvc.spec import Spacing
from tests.evaluate.metric_masks import pairs, spacings

OVERLAPS = ("g_dsc", "b_dsc", "b_dsc_1", "b_dsc_2", "b_dsc_3", "b_dsc_4", "nsd")


def values(measures: Measures) -> dict[str, float]:
    return dataclasses.asdict(measures)


@given(pairs(), spacings)
def test_each_is_the_function_of_its_own(pair: tuple[Mask, Mask], spacing: Spacing) -> None:
    truth, prediction = pair
    found = measure(*pair, spacing=spacing, tolerance=0.7)
    assert found.g_dsc == dice(*pair)
    relaxed = [found.b_dsc, found.b_dsc_1, found.b_dsc_2, found.b_dsc_3, found.b_dsc_4]
    assert relaxed == [boundary_dice(*pair, tolerance) for tolerance in range(5)]
    assert found.nsd == surface_dice(*pair, spacing=spacing, tolerance=0.7)
    assert found.hd95 == hausdorff95(*pair, spacing)
    assert found.asd == surface_distance(*pair, spacing)
    assert (found.truth_voxels, found.predicted_voxels) == (truth.sum(), prediction.sum())


@given(pairs(), spacings)
def test_bounds(pair: tuple[Mask, Mask], spacing: Spacing) -> None:
    found = values(measure(*pair, spacing=spacing, tolerance=1.0))
    assert all(0 <= found[name] <= 1 + 1e-12 for name in OVERLAPS)
    diagonal = math.hypot(*((size - 1) * side for size, side in zip(pair[0].shape, spacing, strict=True)))
    assert all(0 <= found[name] <= diagonal * (1 + 1e-12) for name in ("hd95", "asd"))


@given(pairs(), spacings)
def test_all_but_the_one_way_distance_are_symmetric(pair: tuple[Mask, Mask], spacing: Spacing) -> None:
    truth, prediction = pair
    there = values(measure(truth, prediction, spacing=spacing))
    back = values(measure(prediction, truth, spacing=spacing))
    for name in (*OVERLAPS, "hd95"):
        assert there[name] == pytest.approx(back[name], abs=1e-12)


@given(pairs(), spacings, st.permutations(range(3)), st.lists(st.booleans(), min_size=3, max_size=3))
def test_orientation_does_not_matter(
    pair: tuple[Mask, Mask], spacing: Spacing, axes: list[int], flips: list[bool]
) -> None:
    flipped = tuple(axis for axis, flip in enumerate(flips) if flip)
    truth, prediction = (np.flip(mask.transpose(axes), flipped) for mask in pair)
    sides = (spacing[axes[0]], spacing[axes[1]], spacing[axes[2]])
    expected = values(measure(*pair, spacing=spacing, tolerance=1.0))
    assert values(measure(truth, prediction, spacing=sides, tolerance=1.0)) == pytest.approx(
        expected, abs=1e-9
    )


@given(pairs(filled=True), spacings)
def test_background_around_does_not_matter(pair: tuple[Mask, Mask], spacing: Spacing) -> None:
    """But for the balls of the relaxed B-DSC, which the edge of the volume cuts, until they fit."""
    near, far = ([np.pad(mask, width) for mask in pair] for width in (4, 9))
    assert measure(*near, spacing=spacing) == measure(*far, spacing=spacing)


def test_empty_masks() -> None:
    empty, one = np.zeros((2, 3, 4, 5), bool)
    one[1, 2, 3] = True
    diagonal = math.hypot(2 * 2.0, 3 * 1.0, 4 * 1.0)
    for pair, voxels in (((empty, one), (0, 1)), ((one, empty), (1, 0))):
        found = measure(*pair, spacing=(2.0, 1.0, 1.0))
        assert all(values(found)[name] == 0 for name in OVERLAPS)
        assert found.hd95 == found.asd == pytest.approx(diagonal)
        assert (found.truth_voxels, found.predicted_voxels) == voxels
    both = measure(empty, empty, spacing=(2.0, 1.0, 1.0))
    assert all(values(both)[name] == 1 for name in OVERLAPS)
    assert both.hd95 == both.asd == both.truth_voxels == both.predicted_voxels == 0


def test_identical_and_disjoint() -> None:
    left, right = np.zeros((2, 1, 1, 30), bool)
    left[..., 2:5] = right[..., 20:24] = True
    same = measure(left, left, tolerance=0)
    assert all(values(same)[name] == 1 for name in OVERLAPS)
    assert same.hd95 == same.asd == 0
    apart = measure(left, right, tolerance=1)
    assert all(values(apart)[name] == 0 for name in OVERLAPS)
    assert apart.asd == pytest.approx((16 + 17 + 18 + 19) / 4)


def test_classes_of_label_maps() -> None:
    truth, prediction = np.zeros((2, 3, 4, 5), np.int16)
    truth[0] = prediction[0] = 7
    truth[2] = prediction[1] = 300
    found = class_measures(truth, prediction.astype(np.uint16), (300, 7, 9))
    assert list(found) == [300, 7, 9]
    assert [each.g_dsc for each in found.values()] == [0, 1, 1]
    assert [each.truth_voxels for each in found.values()] == [20, 20, 0]
    assert found[300] == measure(truth == 300, prediction == 300)
