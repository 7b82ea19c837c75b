"""Surfaces are seen where they are, from the side that is named."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dmapsvc.report.surfaces import Look, Surface, sides

RAS = np.diag([1.0, 1.0, 1.0, 1.0])  # i to the right, j to the front, k up


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> NDArray[np.uint8]:
    """A ball of label 1; centre and radius in voxels."""
    places = np.indices(shape) - np.array(centre).reshape(3, 1, 1, 1)
    return np.asarray((places**2).sum(axis=0) <= radius**2).astype(np.uint8)


def named(name: str, labels: NDArray[np.uint8], affine: NDArray[np.float64] | None = RAS) -> Look:
    side = next(side for side in sides(affine) if side.name == name)
    return Surface(labels, (1, 2), (1.0, 1.0, 1.0)).look(side)


@pytest.mark.parametrize("name", ["front", "right"])
def test_a_ball_looks_round_and_its_points_lie_on_it(name: str) -> None:
    seen = named(name, ball((40, 40, 40), (20, 20, 20), 12))
    radii = np.linalg.norm(seen.points - 20, axis=1)
    assert np.abs(radii - 12).max() < 1.0
    rows, columns = (np.ptp(found) + 1 for found in np.nonzero(seen.seen))
    assert rows == pytest.approx(columns, abs=2)
    assert seen.seen.sum() / (rows * columns) == pytest.approx(np.pi / 4, rel=0.03)
    assert seen.points.shape == (seen.seen.sum(), 3)


def test_the_front_is_seen_from_the_front_and_the_back_from_the_back() -> None:
    labels = ball((40, 40, 40), (20, 20, 20), 12)
    assert named("front", labels).points[:, 1].min() > 19  # +y is the front in RAS
    assert named("back", labels).points[:, 1].max() < 21
    assert named("right", labels).points[:, 2].min() > 19  # +x is the patient's right


def middle(found: NDArray[np.bool_]) -> tuple[float, float]:
    rows, columns = np.nonzero(found)
    return float(rows.mean()), float(columns.mean())


@pytest.mark.parametrize("flips", [(), (0,), (2, 1)])
def test_up_is_up_and_left_is_on_the_viewers_right_however_the_array_lies(flips: tuple[int, ...]) -> None:
    labels = ball((40, 40, 40), (10, 20, 10), 5) + 2 * ball((40, 40, 40), (30, 20, 30), 5)  # z up, x right
    affine = RAS.copy()
    for axis in flips:
        labels = np.flip(labels, axis)
        column = 2 - axis
        affine[:3, 3] += affine[:3, column] * 39
        affine[:3, column] *= -1
    seen = named("front", labels, affine)
    values = labels[tuple(np.rint(seen.points).astype(int).T)]
    picture = np.zeros(seen.seen.shape, dtype=int)
    picture[seen.seen] = values
    low_left, high_right = middle(picture == 1), middle(picture == 2)
    assert high_right[0] < low_left[0]  # higher in the picture
    assert high_right[1] < low_left[1]  # the patient's right is on the viewer's left


def test_what_lies_before_hides_what_lies_behind() -> None:
    labels = ball((30, 60, 30), (15, 15, 15), 6) + 2 * ball((30, 60, 30), (15, 45, 15), 9)
    seen = named("front", labels)
    assert set(labels[tuple(np.rint(seen.points).astype(int).T)]) <= {0, 2}
    assert seen.points[:, 1].min() > 40


def test_spacing_stretches_the_picture() -> None:
    labels = ball((40, 40, 40), (20, 20, 20), 12)
    seen = Surface(labels, (1,), (2.0, 1.0, 1.0)).look(sides(np.diag([1.0, 1.0, 2.0, 1.0]))[0])
    rows, columns = (np.ptp(found) + 1 for found in np.nonzero(seen.seen))
    assert rows / columns == pytest.approx(2, rel=0.05)


def test_what_faces_the_light_is_brighter() -> None:
    seen = named("front", ball((40, 40, 40), (20, 20, 20), 12))
    rows, columns = np.indices(seen.seen.shape)
    high, wide = seen.seen.shape
    upper_left = seen.seen & (rows < high / 2) & (columns < wide / 2)
    lower_right = seen.seen & (rows > high / 2) & (columns > wide / 2)
    assert seen.shade[upper_left].mean() > seen.shade[lower_right].mean() + 0.1
    assert seen.shade[seen.seen].min() > 0
    assert seen.shade.max() <= 1


def test_a_label_of_one_voxel_is_seen() -> None:
    seen = named("front", ball((40, 40, 40), (10, 20, 10), 8) + 2 * ball((40, 40, 40), (30, 20, 30), 0.5))
    assert np.abs(seen.points - (30, 20, 30)).max(axis=1).min() < 1.0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_single_slice_is_seen_as_thick_as_a_voxel(axis: int) -> None:
    shape = [12, 12, 12]
    shape[axis] = 1
    labels = np.ones(shape, dtype=np.uint8)
    surface = Surface(labels, (1,), (1.0, 1.0, 1.0))
    for side in sides(RAS):
        seen = surface.look(side)
        assert seen.seen.any()
        assert np.abs(seen.points[:, axis]).max() == pytest.approx(0.5, abs=0.1)


def test_empty_space_around_changes_nothing() -> None:
    labels = ball((24, 30, 26), (12, 15, 13), 8)
    around = ((9, 5), (0, 14), (20, 3))
    near, far = named("front", labels), named("front", np.pad(labels, around))
    assert (near.seen == far.seen).all()
    assert far.shade == pytest.approx(near.shade, abs=1e-6)
    assert far.points - (9, 0, 20) == pytest.approx(near.points, abs=1e-4)


def test_without_an_affine_sides_are_called_by_axes() -> None:
    assert [side.name for side in sides(None)] == ["along y", "along x", "against y"]
    assert named("along y", ball((20, 20, 20), (10, 10, 10), 6), None).points[:, 1].max() < 11
    assert named("along x", ball((20, 20, 20), (10, 10, 10), 6), None).points[:, 2].max() < 11


def test_no_voxel_of_the_labels_is_nothing_to_see() -> None:
    assert not named("front", np.zeros((8, 8, 8), dtype=np.uint8)).seen.any()
