"""Vectors in compiled code: each operation does what NumPy does with LINES numbers."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from dmapsvc.maps.vectors import LINES, choose, every, greatest, least, load, root, spread, store, widened


@numba.njit
def _compute(sheet, out, whole, wide):  # type: ignore[no-untyped-def]
    left, right = load(sheet, 0, 1), load(sheet, 1, 3)
    store(out, 0, 2, left + right)
    store(out, 1, 2, left * right)
    store(out, 2, 2, min(left, right))
    store(out, 3, 2, max(left, right))
    store(out, 4, 2, choose(left < right, spread(np.float32(7)), left))
    store(out, 5, 2, root(left))
    ints = load(whole, 0, 0)
    store(wide, 0, 0, widened(right))
    return (least(ints), greatest(ints)), every(ints == spread(whole[0, 0])), every(ints == ints)


def test_vectors_compute_like_numpy_at_any_place_of_a_strided_sheet() -> None:
    rng = np.random.default_rng(0)
    sheet: NDArray[np.float32] = rng.random((4, LINES + 5), np.float32)[::2]
    whole = rng.integers(-50, 50, (1, LINES), np.int32)
    out, wide = np.zeros((6, LINES + 3), np.float32), np.zeros((1, LINES))
    reduced, alike, same = _compute(sheet, out, whole, wide)
    left, right = sheet[0, 1 : 1 + LINES], sheet[1, 3 : 3 + LINES]
    expected = [
        left + right,
        left * right,
        np.minimum(left, right),
        np.maximum(left, right),
        np.where(left < right, np.float32(7), left),
        np.sqrt(left),
    ]
    np.testing.assert_array_equal(out[:, 2 : 2 + LINES], expected)
    assert not out[:, :2].any()
    assert not out[:, -1].any()
    assert reduced == (whole.min(), whole.max())
    np.testing.assert_array_equal(wide[0], right.astype(np.float64))
    assert (alike, same) == (False, True)
