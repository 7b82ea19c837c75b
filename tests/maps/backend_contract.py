"""What every distance backend must do: inherited by a test class a backend."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from numpy.typing import NDArray

from dmapsvc.maps import backends
from dmapsvc.maps.distances import Distances
from dmapsvc.maps.regions import RegionMap, region_map
from dmapsvc.quantised import quantise
from dmapsvc.spec import MapSpec, Quantisation, Spacing
from tests.maps.reference import VOXEL, Reference, ellipsoids, full_volumes, label_volumes, spacings


class BackendContract:
    """Inherited by a test class a backend."""

    name: ClassVar[str]
    longest: ClassVar[int] = 2000  # an axis that it is tried on

    def measure(self, labels: NDArray[Any], spacing: Spacing = VOXEL, threads: int = 2) -> Distances:
        return self.measured(labels, spacing, threads)[1]

    def measured(
        self, labels: NDArray[Any], spacing: Spacing = VOXEL, threads: int = 2
    ) -> tuple[RegionMap, Distances]:
        regions = region_map(labels, MapSpec())
        return regions, backends.load_backend(self.name).measure(regions, spacing, threads)

    def check(self, labels: NDArray[Any], spacing: Spacing) -> None:
        regions, found = self.measured(labels, spacing)
        expected, values = full_volumes(labels, spacing), found.values()
        assert values.dtype == np.float32
        assert values.flags.c_contiguous
        np.testing.assert_allclose(values, expected.distances, rtol=1e-5, atol=0)
        self.check_summary(regions, found, values, expected)

    def check_summary(
        self, regions: RegionMap, found: Distances, values: NDArray[np.float32], expected: Reference
    ) -> None:
        for index, value in enumerate(regions.values):
            if value not in expected.regions:
                assert found.maxima[index] == found.sums[index] == 0
                continue
            member = expected.regions[value]
            assert found.maxima[index] == values[member].max()
            assert found.sums[index] == pytest.approx(expected.distances[member].sum(), rel=1e-5)

    @settings(max_examples=120, suppress_health_check=[HealthCheck.differing_executors])
    @given(labels=label_volumes(), spacing=spacings)
    def test_distances_equal_scipy_on_whole_volumes(self, labels: NDArray[Any], spacing: Spacing) -> None:
        assume(labels.min() < labels.max())
        self.check(labels, spacing)

    @pytest.mark.parametrize("seed", range(3))
    def test_solid_bodies_that_leave_the_volume(self, seed: int) -> None:
        self.check(ellipsoids((37, 50, 44), 4, seed), (2.5, 0.4, 0.7))

    def test_rows_longer_than_a_block_of_lines(self) -> None:
        labels = np.zeros((3, 5, 700), np.uint8)
        labels[1, 2, 650] = 1
        self.check(labels, (0.5, 3.0, 0.25))

    @pytest.mark.parametrize(("axis", "rest"), [(0, (4, 16)), (1, (4, 16)), (2, (3, 4))])
    @pytest.mark.parametrize("long", [3000 / 0.7, 0.7 / 3000])
    def test_long_lines_of_very_unequal_spacing(self, axis: int, rest: tuple[int, int], long: float) -> None:
        shape = (*rest[:axis], self.longest, *rest[axis:])
        labels = (np.random.default_rng(0).random(shape) < 0.5).astype(np.uint8)
        spacing = [0.7 * long if side == axis else 0.7 for side in range(3)]
        self.check(labels, (spacing[0], spacing[1], spacing[2]))

    @pytest.mark.parametrize("axis", range(3))
    def test_a_line_of_voxels_along_any_axis(self, axis: int) -> None:
        labels = np.array([1, 1, 1, 0, 0, 2, 2, 2, 2, 2])
        line = self.measure(labels.reshape(np.roll((10, 1, 1), axis))).values()
        assert line.ravel().tolist() == [3, 2, 1, 1, 1, 1, 2, 3, 4, 5]

    def test_distances_do_not_depend_on_the_threads(self) -> None:
        labels = ellipsoids((20, 30, 25), 3)
        one, many = self.measure(labels, threads=1), self.measure(labels, threads=7)
        np.testing.assert_array_equal(one.values(), many.values())
        np.testing.assert_array_equal(one.sums, many.sums)

    @pytest.mark.parametrize("order", [(0, 2, 1), (1, 0, 2), (2, 1, 0), (1, 2, 0)])
    def test_turning_the_volume_turns_the_distances(self, order: tuple[int, int, int]) -> None:
        labels, spacing = ellipsoids((14, 23, 18), 3), (0.7, 2.0, 1.1)
        turned = self.measure(
            labels.transpose(order), (spacing[order[0]], spacing[order[1]], spacing[order[2]])
        )
        straight = self.measure(labels, spacing).values()
        np.testing.assert_allclose(turned.values(), straight.transpose(order), rtol=1e-6)

    @pytest.mark.parametrize("axis", range(3))
    def test_mirroring_the_volume_mirrors_the_distances(self, axis: int) -> None:
        labels = ellipsoids((14, 23, 18), 3)
        mirrored = self.measure(np.flip(labels, axis)).values()
        np.testing.assert_allclose(mirrored, np.flip(self.measure(labels).values(), axis), rtol=1e-6)

    def test_phi_is_the_maximum_of_the_own_region_less_d(self) -> None:
        labels = ellipsoids((12, 20, 16), 3)
        regions, distances = self.measured(labels)
        expected = distances.maxima[regions.indices()] - distances.values()
        np.testing.assert_allclose(self.measure(labels).phi(), expected, atol=1e-6)

    @pytest.mark.parametrize("step", [Quantisation(scale_factor=1 / 64), Quantisation(scale_factor=0.3)])
    def test_quantised_is_phi_to_the_nearest_step(self, step: Quantisation) -> None:
        labels = ellipsoids((12, 20, 16), 3)
        found = self.measure(labels).quantised(step)
        assert found.dtype == np.uint16
        np.testing.assert_array_equal(found, quantise(self.measure(labels).phi(), step))
