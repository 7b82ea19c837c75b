"""Closing against distances, components by hand, and what neither may ever do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from dmapsvc.errors import BadInput
from dmapsvc.evaluate.cleaning import clean, close, keep_largest

_VOLUMES = arrays(np.int16, (6, 7, 8), elements=st.sampled_from([0, 0, 0, 1, 3]))


@given(volume=_VOLUMES, radius=st.integers(1, 3))
@settings(max_examples=40)
def test_one_label_is_closed_by_a_ball_as_distances_say(volume: NDArray[np.int16], radius: int) -> None:
    mask = np.pad(volume == 3, 2 * radius)
    grown = ndimage.distance_transform_edt(~mask) <= radius if mask.any() else mask
    wanted = ndimage.distance_transform_edt(grown) > radius
    assert np.array_equal(close(mask.astype(np.uint8), radius) != 0, wanted)


@given(volume=_VOLUMES, radius=st.integers(1, 7))
@settings(max_examples=40)
def test_one_label_is_closed_as_morphology_has_it(volume: NDArray[np.int16], radius: int) -> None:
    mask = np.pad(volume == 3, 2 * radius)
    z, y, x = np.ogrid[tuple([slice(-radius, radius + 1)] * 3)]
    wanted = ndimage.binary_closing(mask, z * z + y * y + x * x <= radius * radius)
    assert np.array_equal(close(mask.astype(np.uint8), radius) != 0, wanted)


@given(volume=_VOLUMES, radius=st.integers(1, 3))
@settings(max_examples=40)
def test_closing_fills_background_and_nothing_else(volume: NDArray[np.int16], radius: int) -> None:
    closed = close(volume, radius)
    assert np.array_equal(closed[volume != 0], volume[volume != 0])
    for label in (1, 3):
        alone = close(np.where(volume == label, volume, 0).astype(np.int16), radius)
        assert not np.any((closed == label) & (alone == 0))


def test_a_notch_at_the_edge_of_the_volume_is_filled_too() -> None:
    slab = np.zeros((3, 5, 9), np.uint8)
    slab[:, :4] = 6
    slab[:, 1:3, 4] = 0  # a slit one voxel wide, through to two faces of the volume
    closed = close(slab, 1)
    assert (closed[:, :4] == 6).all()
    assert not closed[:, 4].any()


def test_the_largest_pieces_of_all_labels_are_kept() -> None:
    volume = np.zeros((4, 12, 12), np.uint16)
    volume[:, :4, :4] = 300  # 64 voxels
    volume[:, 4:8, :4] = 5  # 64, touching it: another label is another piece
    volume[:2, :4, 8:] = 5  # 32
    volume[3, 11, 11] = 300  # 1
    two = keep_largest(volume, 2)
    assert np.unique(two).tolist() == [0, 5, 300]
    assert (two == 300).sum() == (two == 5).sum() == 64
    assert np.array_equal(keep_largest(volume, 3)[:2, :4, 8:], volume[:2, :4, 8:])
    assert np.array_equal(keep_largest(volume, 4), volume)
    assert np.array_equal(keep_largest(volume, 9), volume)
    one = keep_largest(volume, 1)  # of two alike in size, the smaller label
    assert np.unique(one).tolist() == [0, 5]
    assert one.dtype == volume.dtype


def test_voxels_that_meet_at_a_corner_are_one_piece() -> None:
    volume = np.zeros((2, 2, 5), np.uint8)
    volume[0, 0, 0] = volume[1, 1, 1] = 2
    volume[0, 0, 4] = 2
    assert np.argwhere(keep_largest(volume, 1)).tolist() == [[0, 0, 0], [1, 1, 1]]


def test_closing_comes_first_and_both_are_off_unless_asked_for() -> None:
    volume = np.zeros((3, 3, 9), np.uint8)
    volume[:, :, :2] = volume[:, :, 3:5] = 1  # one piece once the gap is closed
    volume[1, 1, 8] = 1
    kept = clean(volume, closing=1, components=1)
    assert kept[1, 1].tolist() == [1, 1, 1, 1, 1, 0, 0, 0, 0]
    untouched = clean(volume)
    assert np.array_equal(untouched, volume)
    assert untouched is not volume
    assert not clean(np.zeros_like(volume), closing=2, components=3).any()
    with pytest.raises(BadInput, match="closing -1"):
        clean(volume, closing=-1)
