"""The lower envelope of parabolas, against every parabola at every place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dmapsvc.maps.envelope import UNREACHED, lower_envelope
from dmapsvc.maps.vectors import LINES


def envelope(heights: NDArray[np.float32], weight: float) -> NDArray[np.float32]:
    lowest = np.full_like(heights, np.nan)
    places = np.zeros((2, len(heights) + 1), np.int64)
    lower_envelope(heights, np.float32(weight), lowest, *places)
    return lowest


def plainly(heights: NDArray[np.float32], weight: float) -> NDArray[np.float64]:
    steps = np.subtract.outer(np.arange(len(heights)), np.arange(len(heights)))
    parabolas = heights[None].astype(np.float64) + np.float64(np.float32(weight)) * steps[:, :, None] ** 2
    lowest: NDArray[np.float64] = parabolas.min(axis=1)
    return lowest


@settings(max_examples=200)
@given(
    size=st.integers(1, 70),
    weight=st.floats(1e-6, 1e6),
    scale=st.sampled_from([0.0, 1.0, 30.0, 1e4]),
    unreached=st.sampled_from([0.0, 0.3, 0.9]),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_parabola_is_lower(size: int, weight: float, scale: float, unreached: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    heights = (weight * scale * rng.random((size, LINES))).astype(np.float32)
    heights[rng.random(size) < unreached] = UNREACHED
    np.testing.assert_allclose(envelope(heights, weight), plainly(heights, weight), rtol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 31, 32, 33])
def test_a_line_that_has_reached_nothing(size: int) -> None:
    assert np.isinf(envelope(np.full((size, LINES), UNREACHED), 1.0)).all()


def test_lines_that_lie_side_by_side_do_not_meet() -> None:
    """The nearest site is at the one end for one half of the lines, at the other end for the other half."""
    heights = np.full((100, LINES), 1e6, np.float32)
    heights[0, : LINES // 2] = heights[-1, LINES // 2 :] = 0
    falling, rising = np.arange(100) ** 2, np.arange(100)[::-1] ** 2
    expected = np.stack([falling] * (LINES // 2) + [rising] * (LINES // 2), axis=1)
    np.testing.assert_array_equal(envelope(heights, 1.0), expected)
