"""The backends of the GPU on a real one: `pytest -m gpu`, on a machine that has one and CuPy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dmapsvc.errors import DeviceFull, DeviceMissing
from dmapsvc.maps import backends, choose_backend, quantised_map
from dmapsvc.maps.cards import free_memory, require_card
from dmapsvc.maps.regions import RegionMap, region_map
from dmapsvc.spec import MapSpec, Quantisation, Spacing
from dmapsvc.volumes import read_labels
from tests.maps.backend_contract import BackendContract
from tests.maps.reference import VOXEL, ellipsoids
from tests.maps.test_maps_shared import VOLUMES

pytestmark = pytest.mark.gpu

BREAK = """
import cupy, numpy, sys
from dmapsvc.errors import DeviceLost
from dmapsvc.maps import quantised_map

quantised_map(numpy.eye(8, dtype=numpy.uint8)[None], backend="cuda")
bad = cupy.RawKernel('extern "C" __global__ void bad(int* place) { *place = 1; }', "bad")
bad((1,), (1,), (numpy.uint64(8),))
try:
    quantised_map(numpy.eye(8, dtype=numpy.uint8)[None], backend="cuda")
except DeviceLost:
    sys.exit(7)
"""


@pytest.fixture(scope="module", autouse=True)
def card() -> None:
    try:
        require_card()
    except DeviceMissing as error:
        pytest.skip(error.detail)


class TestCudaOnACard(BackendContract):
    name = "cuda"


class TestCucimOnACard(BackendContract):
    name = "cucim"
    longest = 800


def cuda() -> Any:
    return backends.load_backend("cuda")


def check(labels: NDArray[Any], spacing: Spacing, classes: tuple[int, ...] | None = None) -> None:
    """Against numba, which is held against SciPy elsewhere."""
    regions = region_map(labels, MapSpec(labels=classes))
    found = cuda().measure(regions, spacing, 1)
    expected = backends.load_backend("numba").measure(regions, spacing, 4)
    np.testing.assert_allclose(found.maxima, expected.maxima, rtol=1e-6)
    np.testing.assert_allclose(found.sums, expected.sums, rtol=1e-6)
    values = expected.values()
    difference = np.abs(found.values() - values)
    assert (difference <= 1e-6 * values).all()


def bodies(side: int) -> NDArray[np.uint8]:
    """A cube of solid bodies, some of them thin."""
    labels = ellipsoids((side // 4,) * 3, 5).repeat(4, 0).repeat(4, 1).repeat(4, 2)
    labels[side // 2 : side // 2 + 2] = 6
    return labels


def test_auto_takes_cuda() -> None:
    assert choose_backend() == "cuda"


@pytest.mark.parametrize(("file", "classes"), VOLUMES)
def test_real_volumes_whole(shared: Path, file: str, classes: tuple[int, ...] | None) -> None:
    volume = read_labels(shared / file)
    assert volume.header.spacing is not None
    check(volume.array, volume.header.spacing, classes)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_cube_of_512(dtype: type) -> None:
    check(bodies(512).astype(dtype), (0.7, 0.36, 0.5))


def test_offsets_beyond_32_bits() -> None:
    """More voxels than 2³¹, where the card has the memory: a plane of another region at either end."""
    labels = np.zeros((1100, 1400, 1400), np.uint8)
    labels[0], labels[-1] = 1, 2
    regions = region_map(labels, MapSpec())
    refusal = cuda().refusal(regions)
    if refusal is not None:
        pytest.skip(refusal)
    found = cuda().measure(regions, VOXEL, 1)
    assert found.maxima.tolist() == [549, 1, 1]
    values = found.values()
    expected = np.minimum(np.arange(1100), np.arange(1100)[::-1])
    expected[[0, -1]] = 1
    assert (values == expected[:, None, None]).all()


def test_the_same_bits_every_time() -> None:
    regions = region_map(bodies(192), MapSpec())
    first = cuda().measure(regions, (0.7, 0.36, 0.5), 1)
    values = first.values()
    for _ in range(5):
        again = cuda().measure(regions, (0.7, 0.36, 0.5), 1)
        np.testing.assert_array_equal(again.sums, first.sums)
        np.testing.assert_array_equal(again.values(), values)


def test_volumes_that_overlap_on_the_card() -> None:
    volumes = [np.roll(bodies(160), 7 * i, 0) for i in range(4)]
    expected = [quantised_map(volume, backend="cuda").values for volume in volumes]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda volume: quantised_map(volume, backend="cuda").values, volumes * 8))
    for one, other in zip(found, expected * 8, strict=True):
        np.testing.assert_array_equal(one, other)


def test_pinned_memory_stays_what_it_is_while_somebody_has_it() -> None:
    kept = quantised_map(bodies(128), backend="cuda").values
    copy = kept.copy()
    for shift in range(6):
        quantised_map(np.roll(bodies(128), shift, 1), backend="cuda")
    np.testing.assert_array_equal(kept, copy)


@pytest.fixture
def nearly_full() -> Iterator[None]:
    """A card of which all but 64 MiB is taken."""
    import cupy

    cupy.get_default_memory_pool().free_all_blocks()
    taken = cupy.cuda.alloc(free_memory() - (64 << 20))
    yield
    del taken
    cupy.get_default_memory_pool().free_all_blocks()


@pytest.mark.usefixtures("nearly_full")
def test_a_card_that_is_full() -> None:
    labels = bodies(256)
    regions: RegionMap = region_map(labels, MapSpec())
    assert "of the GPU's memory" in str(cuda().refusal(regions))
    with pytest.raises(DeviceFull):
        cuda().measure(regions, VOXEL, 1)
    found = quantised_map(labels)
    assert found.backend == "numba"
    assert quantised_map(labels[:16, :64, :64]).backend == "cuda"


def test_after_a_full_card_all_is_well() -> None:
    step = Quantisation(scale_factor=1 / 64)
    assert cuda().measure(region_map(bodies(64), MapSpec()), VOXEL, 1).quantised(step).any()


def test_a_broken_context_is_told_from_other_failures() -> None:
    ended = subprocess.run([sys.executable, "-c", BREAK], capture_output=True, text=True, check=False)
    assert ended.returncode == 7, ended.stderr
