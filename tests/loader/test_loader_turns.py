"""What is drawn for a patch, and that what is read for it holds all that is sampled."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmapsvc.errors import BadInput
from dmapsvc.loader.turns import Augment, Box, Plane, Turn
from dmapsvc.spec import Spacing, Units

SIDES = st.tuples(*[st.integers(1, 40)] * 3)
PLANES = st.builds(Plane, normal=st.integers(0, 2), aspect=st.floats(0.2, 5))
TURNS = st.builds(
    Turn,
    angle=st.floats(-math.pi, math.pi),
    flips=st.tuples(*[st.booleans()] * 3),
    zoom=st.floats(0.5, 2),
)


def reaches(turn: Turn, plane: Plane, patch: Box) -> list[float]:
    """How far from the middle of the patch a turn samples along z, y and x."""
    first, second = plane.axes
    rows, columns = turn.in_plane(patch, plane)
    furthest = {plane.normal: turn.along(plane.normal, patch), first: rows, second: columns}
    return [float(np.abs(furthest[axis]).max()) for axis in range(3)]


def test_a_generator_decides_a_turn() -> None:
    augment = Augment(rotation=30, flip=(0, 0.5, 0.5), zoom=(0.8, 1.25))
    turns = [augment.draw(np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert turns[0] == turns[1] != turns[2]


@pytest.mark.parametrize(
    "augment", [Augment(rotation=0), Augment(rotation=180, flip=(1, 0.5, 0), zoom=(0.5, 2))]
)
def test_every_turn_takes_as_many_numbers(augment: Augment) -> None:
    random, other = np.random.default_rng(5), np.random.default_rng(5)
    augment.draw(random)
    Augment().draw(other)
    assert random.random() == other.random()


def test_drawn_turns_fill_their_ranges_and_keep_to_them() -> None:
    random = np.random.default_rng(0)
    augment = Augment(rotation=20, flip=(0, 1, 0.25), zoom=(0.5, 2))
    turns = [augment.draw(random) for _ in range(2000)]
    degrees = np.degrees([turn.angle for turn in turns])
    zooms = np.log2([turn.zoom for turn in turns])
    shares = np.mean([turn.flips for turn in turns], axis=0)
    assert -20 <= degrees.min() < -19.5
    assert 19.5 < degrees.max() <= 20
    assert np.mean(degrees) == pytest.approx(0, abs=1)
    assert -1 <= zooms.min() < -0.95
    assert 0.95 < zooms.max() <= 1
    assert np.mean(zooms) == pytest.approx(0, abs=0.05)  # as often smaller as larger
    assert shares[:2].tolist() == [0, 1]
    assert shares[2] == pytest.approx(0.25, abs=0.04)


def test_without_ranges_nothing_is_changed() -> None:
    turn = Augment(rotation=0).draw(np.random.default_rng(0))
    assert turn == Turn()
    assert not turn.resamples


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rotation": -1}, "rotation of ±-1"),
        ({"rotation": 181}, "0 to 180 degrees"),
        ({"rotation": math.nan}, "0 to 180 degrees"),
        ({"flip": (0, 0, 1.5)}, "three shares"),
        ({"flip": (0.5, 0.5)}, "three shares"),
        ({"zoom": (0, 1)}, "zoom of"),
        ({"zoom": (1.2, 0.8)}, "zoom of"),
        ({"zoom": (1, math.inf)}, "zoom of"),
    ],
)
def test_what_cannot_be_drawn_is_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Augment(**options)


@pytest.mark.parametrize(
    ("spacing", "units", "plane"),
    [
        ((3, 0.5, 1), "mm", Plane(normal=0, aspect=2)),
        ((3, 0.5, 1), "voxel", Plane(normal=0)),
        ((0.5, 3, 2), "mm", Plane(normal=1, aspect=4)),
        ((0.5, 1, 3), "mm", Plane(normal=2, aspect=2)),
        ((1, 3, 3), "mm", Plane(normal=0)),
        ((1, 1, 1), "mm", Plane(normal=0)),
        (None, "voxel", Plane(normal=0)),
    ],
)
def test_the_plane_is_the_two_finer_axes(spacing: Spacing | None, units: Units, plane: Plane) -> None:
    assert Plane.of(spacing, units) == plane


@given(turn=TURNS, plane=PLANES, patch=SIDES)
def test_the_margin_holds_what_is_sampled_and_no_voxel_more(turn: Turn, plane: Plane, patch: Box) -> None:
    for side, margin, reach in zip(
        patch, turn.margin(patch, plane), reaches(turn, plane, patch), strict=True
    ):
        assert reach <= (side - 1) / 2 + margin + 2e-6
        assert margin == 0 or reach > (side - 1) / 2 + margin - 1


def test_margins_by_hand() -> None:
    assert Turn().margin((8, 9, 10), Plane()) == (0, 0, 0)
    # 96 at 90°: the same square; 5 × 9: the long side lies where the short one was, (9 − 5) / 2 more
    assert Turn(angle=math.pi / 2).margin((96, 96, 96), Plane()) == (0, 0, 0)
    assert Turn(angle=math.pi / 2).margin((4, 5, 9), Plane()) == (0, 2, 0)
    # 47.5 · (√2 − 1) = 19.7
    assert Turn(angle=math.pi / 4).margin((96, 96, 96), Plane(normal=2)) == (20, 20, 0)
    # 47.5 / 0.95 = 50
    assert Turn(zoom=0.95).margin((96, 1, 1), Plane()) == (3, 0, 0)


@given(turn=TURNS, plane=PLANES)
def test_a_turn_is_rigid_where_distances_are_measured(turn: Turn, plane: Plane) -> None:
    patch = (5, 6, 7)
    first, second = plane.axes
    rows, columns = turn.in_plane(patch, plane)
    sides = np.hypot(np.diff(rows, axis=0), plane.aspect * np.diff(columns, axis=0))
    others = np.hypot(np.diff(rows, axis=1), plane.aspect * np.diff(columns, axis=1))
    assert np.allclose(sides, 1 / turn.zoom)
    assert np.allclose(others, plane.aspect / turn.zoom)
    assert rows.shape == columns.shape == (patch[first], patch[second])
