"""HD95, the mean surface distance and the errors behind them: by hand and against all pairs of voxels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from dmapsvc.evaluate import distances
from dmapsvc.evaluate.boundaries import boundary
from dmapsvc.evaluate.distances import hausdorff95, nearest, surface_distance, surface_errors
from dmapsvc.evaluate.masks import Mask
from dmapsvc.spec import Spacing
from tests.evaluate.metric_masks import pairs, spacings

SPACING: Spacing = (3.0, 1.0, 0.5)


def voxels(*places: tuple[int, int, int]) -> Mask:
    mask = np.zeros((4, 5, 12), bool)
    mask[tuple(np.transpose(places))] = True
    return mask


def test_by_hand() -> None:
    truth, prediction = voxels((0, 0, 0)), voxels((1, 4, 0), (0, 0, 4))
    assert list(surface_errors(truth, prediction, SPACING)) == [2.0]  # four voxels of half a millimetre
    assert list(surface_errors(prediction, truth, SPACING)) == [2.0, 5.0]  # z, y, x order; 3-4-5
    assert surface_distance(truth, prediction, SPACING) == 3.5
    assert surface_distance(prediction, truth, SPACING) == 2.0  # one way
    assert hausdorff95(truth, prediction, SPACING) == pytest.approx(2 + 0.95 * 3)  # between 2 and 5
    assert hausdorff95(truth, prediction) == pytest.approx(4 + 0.95 * (math.sqrt(17) - 4))  # in voxels


def test_errors_fall_into_place() -> None:
    truth, prediction = np.zeros((2, 6, 6, 6), bool)
    truth[1:5, 1:5, 1:5] = True
    prediction[1:5, 1:5, 2:5] = True
    errors = np.full(truth.shape, np.nan)
    errors[boundary(truth)] = surface_errors(truth, prediction)
    assert (errors[1:5, 1:5, 1] == 1).all()  # the face that the prediction has not
    assert (errors[1:5, 1:5, 4] == 0).all()
    assert np.isnan(errors[2, 2, 2])


@given(pairs(filled=True), spacings)
def test_errors_are_the_least_of_all_pairs(pair: tuple[Mask, Mask], spacing: Spacing) -> None:
    truth, prediction = (np.argwhere(boundary(mask)) * spacing for mask in pair)
    apart: NDArray[np.float64] = cdist(truth, prediction)
    np.testing.assert_allclose(surface_errors(*pair, spacing), apart.min(axis=1), atol=1e-12)
    np.testing.assert_allclose(surface_distance(*pair, spacing), apart.min(axis=0).mean(), atol=1e-12)
    worst = max(np.percentile(apart.min(axis=axis), 95) for axis in (0, 1))
    assert hausdorff95(*pair, spacing) == pytest.approx(worst, abs=1e-12)


def test_places_asked_for_in_parts_are_as_far_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, prediction = np.random.default_rng(0).random((2, 6, 7, 8)) < 0.3
    for limit in (math.inf, 1.5):
        wanted = nearest(truth, prediction, SPACING, limit)
        with monkeypatch.context() as patch:
            patch.setattr(distances, "_ASKED", 3)
            assert np.array_equal(nearest(truth, prediction, SPACING, limit), wanted)


def test_identical() -> None:
    truth = voxels((0, 0, 0), (3, 2, 1))
    assert hausdorff95(truth, truth) == surface_distance(truth, truth) == 0


def test_empty_masks_are_a_diagonal_apart() -> None:
    empty, one = np.zeros((4, 5, 12), bool), voxels((1, 1, 1))
    diagonal = math.hypot(3 * 3.0, 4 * 1.0, 11 * 0.5)  # from the first voxel's centre to the last's
    for truth, prediction in ((empty, one), (one, empty)):
        assert hausdorff95(truth, prediction, SPACING) == pytest.approx(diagonal)
        assert surface_distance(truth, prediction, SPACING) == pytest.approx(diagonal)
    assert list(surface_errors(one, empty, SPACING)) == [pytest.approx(diagonal)]
    assert surface_errors(empty, one, SPACING).size == 0
    assert hausdorff95(empty, empty) == surface_distance(empty, empty) == 0
