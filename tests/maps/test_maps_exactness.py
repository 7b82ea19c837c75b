"""Every backend on a thousand volumes, each against K + 1 float64 transforms of the whole volume by SciPy.

The cuda backend runs its real kernels, compiled for the host, and cucim a stand-in for the transform.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dmapsvc.maps import BACKENDS
from dmapsvc.maps.backends import load_backend
from dmapsvc.maps.regions import RegionMap, region_map
from dmapsvc.quantised import dequantise
from dmapsvc.spec import MapSpec, Spacing, quantisation
from tests.maps.fake_card import fake_card
from tests.maps.reference import Reference, full_volumes, label_volumes, spacings


@pytest.fixture(scope="module", autouse=True)
def card() -> Iterator[None]:
    with fake_card():
        yield


@st.composite
def volumes(draw: st.DrawFn) -> NDArray[Any]:
    """Volumes of `label_volumes`, some with an axis longer than a warp or a word of bits, of 8 or 16 bits."""
    labels: NDArray[Any] = draw(label_volumes())
    axis, times = draw(st.sampled_from([(0, 1), (0, 1), (0, 1), (0, 5), (1, 5), (2, 5), (2, 9)]))
    if times > 1 and labels.max() < 300:
        rolled = [np.roll(labels, 3 * i, axis) if draw(st.booleans()) else labels for i in range(times)]
        labels = np.concatenate(rolled, axis)
    return labels.astype(np.uint8) if labels.max() < 256 and draw(st.booleans()) else labels


@settings(
    max_examples=1000,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
@given(labels=volumes(), spacing=spacings)
def test_d_and_the_stored_phi_of_a_thousand_volumes(labels: NDArray[Any], spacing: Spacing) -> None:
    assume(labels.min() < labels.max())
    expected, regions = full_volumes(labels, spacing), region_map(labels, MapSpec())
    for name in BACKENDS:
        check_distances(name, regions, spacing, expected)
        check_stored_phi(name, regions, spacing, expected)


def check_distances(name: str, regions: RegionMap, spacing: Spacing, expected: Reference) -> None:
    """D within 1e-5 of D."""
    found = load_backend(name).measure(regions, spacing, 1).values()
    np.testing.assert_allclose(found, expected.distances, rtol=1e-5, atol=0, err_msg=name)


def check_stored_phi(name: str, regions: RegionMap, spacing: Spacing, expected: Reference) -> None:
    """Φ within half a step, and 1e-5 of the largest D of its region."""
    distances = load_backend(name).measure(regions, spacing, 1)
    step = quantisation(float(distances.maxima.max()), spacing)
    found = dequantise(distances.quantised(step), step)
    maxima = np.array(
        [expected.maximum(value) if value in expected.regions else 0 for value in regions.values]
    )
    tolerance = step.max_error + 1e-5 * maxima[regions.indices()]
    wrong = np.abs(found - expected.phi()) > tolerance
    assert not wrong.any(), f"{name}: {found[wrong]} instead of {expected.phi()[wrong]}"
