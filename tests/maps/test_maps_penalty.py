"""Φ itself: the definition, worked by hand and against the plain way, and its borderline cases."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from numpy.typing import NDArray

from dmapsvc import PenaltyMap, penalty_map
from dmapsvc.errors import BadInput, BadLabels, BadSpec, DeviceFailed
from dmapsvc.maps import BACKENDS
from dmapsvc.region import SCALES, Region
from dmapsvc.spec import MapSpec, Spacing, Units
from tests.maps.fake_card import fake_card
from tests.maps.reference import VOXEL, ellipsoids, full_volumes, label_volumes, spacings

MM = MapSpec(units="mm")


@pytest.fixture(scope="module", autouse=True)
def card() -> Iterator[None]:
    with fake_card():
        yield


def test_a_case_worked_by_hand() -> None:
    """A row 0 0 0 5 5 8: D is 3 2 1 1 1 1, M is 3 for the background and 1 for both labels."""
    found = penalty_map(np.array([[[0, 0, 0, 5, 5, 8]]]))
    assert found.values.tolist() == [[[0, 1, 2, 0, 0, 0]]]
    assert found.values.dtype == np.float32
    assert found.regions == (
        Region(value=0, voxels=3, maximum=3.0, mean_phi=1.0),
        Region(value=5, voxels=2, maximum=1.0, mean_phi=0.0),
        Region(value=8, voxels=1, maximum=1.0, mean_phi=0.0),
    )
    assert found.scaled("none").tolist() == [[[0, 1, 2, 0, 0, 0]]]
    np.testing.assert_allclose(found.scaled("region"), [[[0, 1 / 3, 2 / 3, 0, 0, 0]]], rtol=1e-6)
    np.testing.assert_allclose(found.scaled("balanced"), [[[-0.5, 0, 0.5, 0, 0, 0]]], atol=1e-7)


def test_diagonals_and_spacing_worked_by_hand() -> None:
    labels = np.zeros((2, 2, 2), int)
    labels[0, 0, 0] = 3
    found = penalty_map(labels, (2.0, 4.0, 1.0), MM)
    # z 2, y 4, x 1 mm; M is the diagonal √(4 + 16 + 1)
    squares = np.array([[[21, 1], [16, 17]], [[4, 5], [20, 21]]])  # 21: label 3 has D = M, so its Φ is 0
    expected = math.sqrt(21) - np.sqrt(squares)
    np.testing.assert_allclose(found.values, expected, atol=1e-6)


def test_touching_labels_are_boundaries_and_chosen_ones_alone() -> None:
    row = np.array([[[1, 1, 1, 2, 2, 0, 0]]])
    apart = penalty_map(row)
    together = penalty_map(row, spec=MapSpec(labels=(1,)))
    assert apart.values.tolist() == [[[0, 1, 2, 0, 0, 1, 0]]]
    assert together.values.tolist() == [[[0, 1, 2, 3, 2, 1, 0]]]


def test_voxel_maps_ignore_spacing() -> None:
    labels = ellipsoids((8, 9, 10), 2)
    assert_same(penalty_map(labels, (3.0, 0.1, 7.0)), penalty_map(labels))


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=60)
@given(labels=label_volumes(), spacing=spacings)
def test_phi_equals_the_plain_way(backend: str, labels: NDArray[Any], spacing: Spacing) -> None:
    assume(labels.min() < labels.max())
    for units in ("voxel", "mm"):
        check_phi(labels, spacing, units, backend)


def check_phi(labels: NDArray[Any], spacing: Spacing, units: Units, backend: str) -> None:
    found = penalty_map(labels, spacing, MapSpec(units=units), backend=backend, threads=2)
    expected = full_volumes(labels, spacing if units == "mm" else VOXEL)
    phi = expected.phi()
    scaled = {scale: found.scaled(scale) for scale in SCALES}
    assert [region.value for region in found.regions] == list(expected.regions)
    for region in found.regions:
        member = expected.regions[region.value]
        largest, mean = expected.maximum(region.value), phi[member].mean()
        assert region.voxels == member.sum()
        assert region.maximum == pytest.approx(largest, rel=1e-5)
        assert region.mean_phi == pytest.approx(mean, abs=1e-5 * largest)
        assert not region.degenerate
        tolerance = 1e-5 * largest
        np.testing.assert_allclose(found.values[member], phi[member], atol=tolerance, rtol=0)
        np.testing.assert_allclose(scaled["none"][member], phi[member], atol=tolerance, rtol=0)
        np.testing.assert_allclose(scaled["region"][member], phi[member] / largest, atol=1e-5, rtol=0)
        balanced = (1 + phi[member]) / (1 + mean) - 1
        np.testing.assert_allclose(scaled["balanced"][member], balanced, atol=3e-5 * (1 + largest), rtol=0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", [0, 9])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 4, 5)])
def test_a_volume_of_one_region_is_degenerate(backend: str, value: int, shape: tuple[int, ...]) -> None:
    found = penalty_map(np.full(shape, value), backend=backend)
    voxels = math.prod(shape)
    only = Region(value=value, voxels=voxels, maximum=0.0, mean_phi=0.0, degenerate=True)
    assert found.regions == (only,)
    assert found.absent == ()
    for scale in SCALES:
        assert not found.scaled(scale).any()


def test_all_chosen_labels_absent_is_one_region() -> None:
    found = penalty_map(np.full((2, 2, 2), 9), spec=MapSpec(labels=(4, 3)))
    assert found.absent == (4, 3)
    assert found.regions == (Region(value=0, voxels=8, maximum=0.0, mean_phi=0.0, degenerate=True),)


def test_absent_labels_are_listed_and_no_region() -> None:
    found = penalty_map(np.array([[[0, 7, 7, 5]]]), spec=MapSpec(labels=(7, 6, 5, 1)))
    assert found.absent == (6, 1)
    assert [region.value for region in found.regions] == [0, 7, 5]
    assert np.isfinite(found.scaled("balanced")).all()


def test_background_without_voxels_is_no_region() -> None:
    found = penalty_map(np.array([[[1, 1, 2, 2]]]))
    assert [region.value for region in found.regions] == [1, 2]
    assert found.values.tolist() == [[[0, 1, 1, 0]]]


def test_the_edge_of_the_volume_is_no_boundary() -> None:
    labels = np.zeros((9, 9, 9), int)
    labels[:, :, :3] = 1  # leaves the volume on five sides
    (background, bone) = penalty_map(labels).regions
    assert (background.maximum, bone.maximum) == (6.0, 3.0)


def test_a_label_one_voxel_thick_has_no_penalty() -> None:
    labels = np.zeros((5, 9, 9), int)
    labels[2] = 1
    found = penalty_map(labels, (0.7, 0.36, 0.36), MM)
    assert not found.values[2].any()
    assert found.regions[1].mean_phi == 0
    assert not found.scaled("region")[2].any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("convert", ["big-endian", "Fortran", "strided", "reversed"])
def test_memory_layout_does_not_matter(backend: str, convert: str) -> None:
    plain = ellipsoids((8, 9, 10), 3).astype(np.int16)
    other: NDArray[Any] = {
        "big-endian": plain.astype(">i2"),
        "Fortran": np.asfortranarray(plain),
        "strided": plain.repeat(3, 1)[:, ::3],
        "reversed": plain[::-1, ::-1].copy()[::-1, ::-1],
    }[convert]
    before = other.copy()
    assert_same(penalty_map(other, backend=backend), penalty_map(plain, backend=backend))
    np.testing.assert_array_equal(other, before)


def assert_same(found: PenaltyMap, expected: PenaltyMap) -> None:
    np.testing.assert_array_equal(found.values, expected.values)
    assert found.regions == expected.regions


def test_a_scaled_map_is_a_copy() -> None:
    found = penalty_map(ellipsoids((6, 7, 8), 2))
    before = found.values.copy()
    for scale in SCALES:
        scaled = found.scaled(scale)
        assert scaled.dtype == np.float32
        scaled += 1
    np.testing.assert_array_equal(found.values, before)


def test_an_unknown_scale() -> None:
    with pytest.raises(BadInput, match="scale 'log'"):
        penalty_map(np.array([[[0, 1]]])).scaled("log")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "spacing",
    [
        (0.0, 1, 1),
        (1, -1.0, 1),
        (1, 1, math.nan),
        (math.inf, 1, 1),
        (1, 1),
        (1, 1, 1, 1),
        (1, 1, 9e-7),
        (2e6, 1, 1),
    ],
)
def test_spacing_that_no_volume_has(spacing: Any) -> None:
    with pytest.raises(BadSpec, match="three positive numbers"):
        penalty_map(np.array([[[0, 1]]]), spacing, MM)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("spacing", [(1e-6, 1e-6, 1e-6), (1e6, 1e6, 1e6), (1e6, 1e-6, 1.0), (1e-6, 1.0, 1e6)])
def test_the_shortest_and_longest_voxels(backend: str, spacing: Spacing) -> None:
    check_phi(ellipsoids((40, 30, 20), 3), spacing, "mm", backend)


def test_mm_without_spacing() -> None:
    with pytest.raises(BadSpec, match=r"mm need the spacing\. Give it, or take units 'voxel'"):
        penalty_map(np.array([[[0, 1]]]), spec=MM)


def test_bad_labels_and_backends_are_refused_for_degenerate_volumes_too() -> None:
    with pytest.raises(BadLabels):
        penalty_map(np.full((2, 2, 2), -1))
    with pytest.raises(DeviceFailed):
        penalty_map(np.zeros((2, 2, 2), int), backend="abacus")


def test_no_threads() -> None:
    with pytest.raises(BadInput, match="0 threads; at least 1"):
        penalty_map(np.array([[[0, 1]]]), threads=0)


def test_the_backend_is_named() -> None:
    labels = np.array([[[0, 1]]])
    assert penalty_map(labels, backend="scipy").backend == "scipy"
    assert penalty_map(labels).backend == "cuda"
