"""Boundary voxels and B-DSC, by hand and against SciPy's distance transform."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from dmapsvc.errors import BadInput
from dmapsvc.evaluate.boundaries import boundary, boundary_dice
from dmapsvc.evaluate.masks import Mask
from tests.evaluate.metric_masks import pairs


def block(size: int, start: int, stop: int) -> Mask:
    mask = np.zeros((size,) * 3, bool)
    mask[start:stop, start:stop, start:stop] = True
    return mask


def row(*set_voxels: int, length: int = 12) -> Mask:
    mask = np.zeros((1, 1, length), bool)
    mask[0, 0, list(set_voxels)] = True
    return mask


def test_the_boundary_of_a_cube_is_its_shell() -> None:
    shell = boundary(block(7, 1, 6))
    assert shell.sum() == 5**3 - 3**3
    assert not shell[2:5, 2:5, 2:5].any()


def test_a_notch_across_an_edge_makes_no_boundary() -> None:
    mask = np.ones((5, 5, 5), bool)
    mask[2, 1, 1] = False
    assert boundary(mask)[2, 1, 2]  # shares a face with the notch
    assert not boundary(mask)[2, 2, 2]  # an edge alone


def test_the_edge_of_the_volume_is_background() -> None:
    assert boundary(np.ones((3, 3, 3), bool)).sum() == 26


@given(pairs())
def test_the_boundary_is_what_erosion_takes_away(pair: tuple[Mask, Mask]) -> None:
    mask, _ = pair
    np.testing.assert_array_equal(boundary(mask), mask & ~ndimage.binary_erosion(mask))


def test_a_cube_one_voxel_off() -> None:
    truth = block(9, 2, 7)
    prediction = np.roll(truth, 1, axis=2)
    shell, rim = 5**3 - 3**3, 5**2 - 3**2
    shared = 4 * rim  # where the cubes overlap, at least one of the two is a rim in each plane across x
    assert boundary_dice(truth, prediction) == pytest.approx(2 * shared / (2 * shell))


def test_balls_by_hand() -> None:
    assert boundary_dice(row(3), row(6)) == 0
    assert boundary_dice(row(3), row(6), 1) == 0  # voxels 2 to 4, and 5 to 7
    assert boundary_dice(row(3), row(6), 2) == pytest.approx(2 * 2 / 10)  # 1 to 5, and 4 to 8
    assert boundary_dice(row(0), row(3), 2) == pytest.approx(2 * 2 / 8)  # 0 to 2, cut off; 1 to 5


def test_balls_are_euclidean() -> None:
    truth, prediction = np.zeros((2, 1, 5, 5), bool)
    truth[0, 2, 2] = prediction[0, 3, 3] = True
    disc = 5  # a cross, not a square
    assert boundary_dice(truth, prediction, 1) == pytest.approx(2 * 2 / (2 * disc))


@given(pairs(filled=True), st.integers(0, 6))
def test_relaxed_is_dice_of_what_lies_within_the_tolerance(pair: tuple[Mask, Mask], tolerance: int) -> None:
    first, second = (ndimage.distance_transform_edt(~boundary(mask)) <= tolerance for mask in pair)
    expected = 2 * (first & second).sum() / (first.sum() + second.sum())
    assert boundary_dice(*pair, tolerance) == pytest.approx(expected, abs=1e-12)


def test_a_large_tolerance_does_not_overflow() -> None:
    truth, prediction = np.zeros((2, 1, 1, 60), bool)
    truth[..., 0] = prediction[..., 40] = True
    assert boundary_dice(truth, prediction, 20) == pytest.approx(2 * 1 / (21 + 40))


def test_empty_masks() -> None:
    empty, one = np.zeros((3, 3, 3), bool), block(3, 1, 2)
    assert boundary_dice(empty, empty, 2) == 1
    assert boundary_dice(empty, one, 2) == boundary_dice(one, empty, 2) == 0


def test_a_negative_tolerance_is_refused() -> None:
    with pytest.raises(BadInput, match="0 or more"):
        boundary_dice(row(1), row(1), -1)
