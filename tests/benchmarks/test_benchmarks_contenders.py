"""Every contender computes Φ, the same Φ: ratios compare equals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import contenders, lineup, usual_script
from benchmarks.contenders import Way
from dmapsvc.spec import Spacing, quantisation
from tests.maps.reference import Reference, ellipsoids, full_volumes

SPACING: Spacing = (0.7, 0.36, 0.4)
WAYS = {name: way for name, way in lineup.all_ways(2).items() if name != lineup.edt_alone(2)}
LABELS = ellipsoids((24, 40, 32), 5)
CLASSES = (2, 5, 3)  # the others are background, and no class stands in order


def worst(phi: NDArray[Any], reference: Reference) -> float:
    """The largest error over its region's maximum."""
    return max(
        float(np.abs(phi - reference.phi())[member].max()) / reference.maximum(value)
        for value, member in reference.regions.items()
    )


@pytest.fixture(scope="module")
def reference() -> Reference:
    return full_volumes(LABELS, SPACING, CLASSES)


@pytest.mark.parametrize("name", [name for name in WAYS if not name.endswith("uint16")])
def test_a_way_is_the_definition(name: str, reference: Reference) -> None:
    phi = WAYS[name](LABELS, CLASSES, SPACING)
    assert phi.dtype == np.float32
    assert worst(phi, reference) < 1e-5


@pytest.mark.parametrize("name", [name for name in WAYS if name.endswith("uint16")])
def test_a_stored_way_is_it_to_half_a_step(name: str, reference: Reference) -> None:
    step = quantisation(max(map(reference.maximum, reference.regions)), SPACING)
    stored = WAYS[name](LABELS, CLASSES, SPACING)
    assert stored.dtype == np.uint16
    assert np.abs(stored * step.scale_factor - reference.phi()).max() < 1.001 * step.max_error


def test_the_ways_without_phi_measure_distances(reference: Reference) -> None:
    distances = contenders.edt_distances(LABELS, CLASSES, SPACING, threads=2)
    assert np.abs(distances - reference.distances).max() < 1e-5 * reference.maximum(0)


@pytest.mark.parametrize("way", [WAYS[lineup.edt(2)], WAYS[lineup.numba(2)]])
def test_more_classes_than_a_byte_counts(way: Way) -> None:
    blocks = np.arange(8 * 8 * 8, dtype=np.uint16).reshape(8, 8, 8) % 301
    labels = blocks.repeat(3, 0).repeat(2, 1).repeat(4, 2)
    classes = tuple(range(1, 301))
    assert worst(way(labels, classes, SPACING), full_volumes(labels, SPACING)) < 1e-5


def test_the_script_makes_the_same_maps(tmp_path: Path, reference: Reference) -> None:
    nib.nifti1.save(nib.nifti1.Nifti1Image(LABELS.T, np.diag((*SPACING[::-1], 1.0))), tmp_path / "a.nii.gz")
    usual_script.precompute(tmp_path / "a.nii.gz", tmp_path, list(CLASSES))
    phi = np.load(tmp_path / "a.npz")["phi"].T
    assert phi.dtype == np.float32
    assert worst(phi, reference) < 1e-5
