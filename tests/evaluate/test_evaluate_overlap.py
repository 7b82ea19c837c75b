"""G-DSC by hand, and what is refused before anything is measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given

from dmapsvc.errors import BadInput, GridMismatch
from dmapsvc.evaluate.masks import Mask
from dmapsvc.evaluate.overlap import dice
from tests.evaluate.metric_masks import pairs


def test_by_hand() -> None:
    truth, prediction = np.zeros((2, 1, 3, 4), bool)
    truth[0, 1, :3] = True
    prediction[0, 1, 2:] = True
    assert dice(truth, prediction) == pytest.approx(2 * 1 / (3 + 2))


def test_identical_disjoint_and_empty() -> None:
    empty, left, right = np.zeros((3, 2, 2, 2), bool)
    left[0] = right[1] = True
    assert dice(left, left) == dice(empty, empty) == 1
    assert dice(left, right) == dice(left, empty) == dice(empty, left) == 0


@given(pairs())
def test_either_way_round_and_within_bounds(pair: tuple[Mask, Mask]) -> None:
    first, second = pair
    assert 0 <= dice(first, second) == dice(second, first) <= 1


@pytest.mark.parametrize("wrong", [np.ones((2, 2, 2), np.uint8), np.ones((2, 2), bool)])
def test_only_bool_volumes_are_masks(wrong: Any) -> None:
    with pytest.raises(BadInput, match="labels == value"):
        dice(np.ones((2, 2, 2), bool), wrong)


def test_two_shapes_are_refused() -> None:
    with pytest.raises(GridMismatch, match="one grid"):
        dice(np.ones((2, 2, 2), bool), np.ones((2, 2, 3), bool))
