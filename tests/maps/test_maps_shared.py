"""Φ of every real label volume, both units and every scale, against float64 SciPy.

The cuda backend runs its real kernels, compiled for the host, and cucim a stand-in for the transform.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from numpy.typing import NDArray

from dmapsvc.maps import BACKENDS, PenaltyMap, penalty_map
from dmapsvc.region import SCALES
from dmapsvc.spec import MapSpec, Spacing, Units
from dmapsvc.volumes import read_labels
from tests.maps.fake_card import fake_card
from tests.maps.reference import VOXEL, Reference, crops, full_volumes, label_volumes, spacings

LARGE = 5_000_000  # voxels, from which on only our own passes are tried: the others call SciPy here
VOLUMES = [
    ("knee_dess_bones_cartilage.nrrd", (5, 6, 7)),
    ("knee_dess_bones_meniscus_fibula.nrrd", (8, 5, 6, 7)),
    ("knee_t2_iso.nii.gz", None),
    ("thigh_muscles.nii.gz", None),
    ("brain_aal_117.nii.gz", None),
    ("ct_torso_labels.nii.gz", None),
    ("dicomseg_liver.dcm", None),
]


@pytest.fixture(scope="module", autouse=True)
def card() -> Iterator[None]:
    with fake_card():
        yield


@settings(max_examples=60)
@given(labels=label_volumes(), spacing=spacings)
def test_the_reference_by_crops_is_the_reference(labels: NDArray[np.uint16], spacing: Spacing) -> None:
    assume(labels.min() < labels.max())
    np.testing.assert_array_equal(crops(labels, spacing).distances, full_volumes(labels, spacing).distances)


@pytest.mark.parametrize("units", ["voxel", "mm"])
@pytest.mark.parametrize(("file", "classes"), VOLUMES)
def test_phi_of_real_volumes(shared: Path, file: str, classes: tuple[int, ...] | None, units: Units) -> None:
    volume = read_labels(shared / file)
    labels = volume.array
    spacing = volume.header.spacing
    assert spacing is not None
    expected = crops(labels, spacing if units == "mm" else VOXEL, classes)
    for backend in BACKENDS if labels.size < LARGE else ("cuda", "numba"):
        found = penalty_map(labels, spacing, MapSpec(labels=classes, units=units), backend=backend)
        assert {region.value for region in found.regions} == set(expected.regions), backend
        check_regions(found, expected)


def check_regions(found: PenaltyMap, expected: Reference) -> None:
    scaled = {scale: found.scaled(scale) for scale in SCALES}
    for region in found.regions:
        member = expected.regions[region.value]
        distances = expected.distances[member]
        largest = distances.max()
        phi = largest - distances
        mean = phi.mean()
        assert region.voxels == distances.size
        assert region.maximum == pytest.approx(largest, rel=1e-5)
        assert region.mean_phi == pytest.approx(mean, abs=1e-5 * largest)
        assert np.abs(scaled["none"][member] - phi).max() <= 1e-5 * largest
        assert np.abs(scaled["region"][member] - phi / largest).max() <= 1e-5
        weight = (1 + phi) / (1 + mean)
        assert np.abs(1 + scaled["balanced"][member] - weight).max() <= 2e-5 * weight.max()
