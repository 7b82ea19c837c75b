"""Label values to region indices, and what is refused as no label map."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dmapsvc.errors import BadLabels
from dmapsvc.maps import regions
from dmapsvc.maps.regions import RegionMap, region_map
from dmapsvc.spec import MapSpec
from tests.maps.reference import label_volumes


def test_labels_keep_the_order_of_the_spec() -> None:
    labels = np.array([[[0, 7, 5], [9, 5, 5]]])
    found = region_map(labels, MapSpec(labels=(7, 6, 5)))
    assert found.indices().tolist() == [[[0, 1, 3], [0, 3, 3]]]
    assert found.values == (0, 7, 6, 5)
    assert found.voxels == (2, 1, 0, 3)
    assert found.present == (0, 1, 3)


def test_without_labels_every_value_is_a_class_ascending() -> None:
    found = region_map(np.array([[[300, 2, 2**32 - 1, 2]]]), MapSpec())
    assert found.values == (0, 2, 300, 2**32 - 1)
    assert found.voxels == (0, 2, 1, 1)
    assert found.indices().tolist() == [[[2, 1, 3, 1]]]


@given(labels=label_volumes(), chosen=st.none() | st.sets(st.integers(1, 300), min_size=1).map(tuple))
def test_indices_lead_back_to_the_values(labels: NDArray[Any], chosen: tuple[int, ...] | None) -> None:
    found = region_map(labels, MapSpec(labels=chosen))
    expected = labels if chosen is None else np.where(np.isin(labels, chosen), labels, 0)
    np.testing.assert_array_equal(np.array(found.values)[found.indices()], expected)
    assert found.voxels == tuple(np.bincount(found.indices().ravel(), minlength=len(found.values)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_small_label_map_is_not_copied(dtype: type[np.generic]) -> None:
    labels = np.full((2, 3, 4), 7, dtype)
    assert region_map(labels, MapSpec(labels=(7, 70_000))).labels is labels


def test_runs_go_on_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "_CHUNK", 7)
    labels = np.repeat([4, 0, 9, 4], 10).reshape(2, 4, 5)
    found = region_map(labels, MapSpec())
    np.testing.assert_array_equal(np.array(found.values)[found.indices()], labels)
    assert found.voxels == (10, 20, 10)


@pytest.mark.parametrize(("labels", "dtype"), [(255, np.uint8), (256, np.uint16), (65_535, np.uint16)])
def test_indices_take_the_smallest_type(labels: int, dtype: type[np.generic]) -> None:
    volume = np.arange(labels + 1).reshape(1, 1, -1)
    found = region_map(volume, MapSpec())
    assert found.table.dtype == dtype
    np.testing.assert_array_equal(found.indices(), volume)


@pytest.mark.parametrize("dtype", ["i1", "u1", "<i2", ">i2", "<u2", ">u2", "<i4", ">u4", "<i8", ">i8", ">u8"])
@pytest.mark.parametrize("layout", ["C", "F", "strided", "reversed", "read-only"])
def test_any_type_order_and_layout(dtype: str, layout: str) -> None:
    plain = np.random.default_rng(0).integers(0, 100, (3, 4, 5))
    labels = plain.astype(dtype, order="F" if layout == "F" else "C")
    if layout == "strided":
        labels = labels.repeat(2, 2)[:, :, ::2]
    elif layout == "reversed":
        labels = labels[::-1, :, ::-1].copy()[::-1, :, ::-1]
    elif layout == "read-only":
        labels.setflags(write=False)
    assert_same(region_map(labels, MapSpec()), region_map(plain, MapSpec()))


@pytest.mark.parametrize("true", [1, 2, 255])
def test_true_is_label_1_whatever_byte_stands_for_it(true: int) -> None:
    mask = np.array([[[0, true, true, 0]]], np.uint8).view(bool)
    assert_same(region_map(mask, MapSpec()), region_map(np.array([[[0, 1, 1, 0]]]), MapSpec()))
    assert_same(region_map(mask[:, :, ::2], MapSpec()), region_map(np.array([[[0, 1]]]), MapSpec()))


def assert_same(found: RegionMap, expected: RegionMap) -> None:
    np.testing.assert_array_equal(found.indices(), expected.indices())
    assert found.labels.flags.c_contiguous
    assert (found.values, found.voxels) == (expected.values, expected.voxels)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((3, 3), int), "2 axes; a label map has three"),
        (np.zeros((1, 3, 3, 3), int), "4 axes; a label map has three"),
        (np.zeros((3, 0, 3), int), "a volume of 3 x 0 x 3 voxels; every axis has voxels"),
        (np.zeros((3, 3, 3)), "an array of float64; a label map holds whole numbers. Convert it"),
        (np.full((3, 3, 3), "femur"), "a label map holds whole numbers"),
        (np.full((3, 3, 3), -1, np.int8), "a voxel is -1; labels are not negative"),
        (np.full((3, 3, 3), 2**32), "a voxel is 4294967296; the largest label is 4294967295"),
        (np.full((3, 3, 3), 2**64 - 1, np.uint64), "a voxel is 18446744073709551615; the largest label"),
        (np.arange(65_537).reshape(1, 1, -1), "more than 65535 distinct labels; a label map has at most"),
    ],
)
def test_what_is_no_label_map(labels: NDArray[Any], message: str) -> None:
    with pytest.raises(BadLabels) as caught:
        region_map(labels, MapSpec())
    assert message in str(caught.value)


def test_too_many_labels_are_refused_though_few_are_chosen() -> None:
    with pytest.raises(BadLabels, match="more than 65535"):
        region_map(np.arange(65_537).reshape(1, 1, -1), MapSpec(labels=(5,)))
