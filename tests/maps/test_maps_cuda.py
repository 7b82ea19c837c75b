"""The cuda backend on a card that is a fake: its kernels are the real ones, compiled for the host."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dmapsvc.errors import DeviceFull, DeviceLost
from dmapsvc.maps import backends, choose_backend, quantised_map
from dmapsvc.maps.regions import RegionMap, region_map
from dmapsvc.quantised import quantise
from dmapsvc.spec import MapSpec, Quantisation, Spacing
from dmapsvc.volumes import read_labels
from tests.maps.backend_contract import BackendContract
from tests.maps.fake_card import fake_card
from tests.maps.reference import VOXEL, ellipsoids, full_volumes
from tests.maps.test_maps_shared import VOLUMES

STEP = Quantisation(scale_factor=1 / 64)
LABELS = ellipsoids((20, 33, 40), 3)


@pytest.fixture(scope="module", autouse=True)
def card() -> Iterator[None]:
    with fake_card():
        yield


class TestCuda(BackendContract):
    name = "cuda"


def cuda() -> Any:
    return backends.load_backend("cuda")


def regions_of(labels: NDArray[Any], classes: tuple[int, ...] | None = None) -> RegionMap:
    return region_map(labels, MapSpec(labels=classes))


def check(labels: NDArray[Any], spacing: Spacing = VOXEL) -> None:
    found = cuda().measure(regions_of(labels), spacing, 1).values()
    np.testing.assert_allclose(found, full_volumes(labels, spacing).distances, rtol=1e-6)


def test_auto_takes_it_where_there_is_a_card() -> None:
    assert choose_backend() == "cuda"


@pytest.mark.parametrize("shape", [(1, 1, 2), (1, 2, 1), (2, 1, 1), (1, 9, 33), (5, 1, 64), (40, 31, 1)])
def test_axes_of_one_voxel(shape: tuple[int, int, int]) -> None:
    labels = np.zeros(shape, np.uint8)
    labels.flat[labels.size // 2] = 1
    check(labels, (0.7, 1.9, 0.4))


@pytest.mark.parametrize("size", [31, 32, 33, 63, 64, 65, 127, 128, 129, 257])
@pytest.mark.parametrize("axis", range(3))
def test_lines_as_long_as_words_segments_and_blocks(size: int, axis: int) -> None:
    shape = [3, 3, 3]
    shape[axis] = size
    rng = np.random.default_rng(size)
    for regions, share in [(2, 0.02), (4, 0.5)]:
        labels = rng.integers(1, regions, shape, dtype=np.uint8) * (rng.random(shape) < share)
        labels.flat[0] = 1
        check(labels.astype(np.uint8), (0.5, 1.5, 1.1))


@pytest.mark.parametrize("axis", range(3))
def test_the_longest_axis(axis: int) -> None:
    shape = [1, 1, 1]
    shape[axis] = 65_534
    labels: NDArray[np.uint8] = np.zeros(shape, np.uint8)
    labels.flat[-1] = 1
    assert cuda().refusal(regions_of(labels)) is None
    found = cuda().measure(regions_of(labels), VOXEL, 1)
    np.testing.assert_array_equal(found.values().ravel()[:-1], np.arange(65_533, 0, -1))
    assert found.sums.tolist() == [65_533 * 65_534 / 2, 1]


def test_a_longer_axis_is_refused() -> None:
    labels = np.zeros((1, 65_535, 2), np.uint8)
    labels[0, 0, 0] = 1
    assert cuda().refusal(regions_of(labels)) == "an axis of 65535 voxels is longer than 65534"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_chosen_labels_of_either_width(dtype: type) -> None:
    labels: NDArray[Any] = LABELS.astype(dtype)
    found = cuda().measure(regions_of(labels, (3, 1, 9)), VOXEL, 1)
    expected = full_volumes(labels, VOXEL, (3, 1, 9))
    np.testing.assert_allclose(found.values(), expected.distances, rtol=1e-6)
    assert found.maxima[[1, 2]] == pytest.approx([expected.maximum(3), expected.maximum(1)])
    assert found.maxima[3] == found.sums[3] == 0


def test_as_many_regions_as_there_can_be() -> None:
    labels = np.arange(2**16, dtype=np.uint16).reshape(16, 64, 64)
    found = cuda().measure(regions_of(labels), (3.0, 2.0, 1.5), 1)
    assert found.maxima.tolist() == found.sums.tolist() == [1.5] * 2**16
    assert not found.phi().any()


def test_labels_of_the_caller_are_left_alone() -> None:
    labels = LABELS.copy()
    cuda().measure(regions_of(labels, (2,)), VOXEL, 1).phi()
    np.testing.assert_array_equal(labels, LABELS)


def test_quantised_with_an_offset() -> None:
    step = Quantisation(scale_factor=0.11, add_offset=-3.7)
    found = cuda().measure(regions_of(LABELS), (2.0, 0.7, 1.3), 1)
    phi = cuda().measure(regions_of(LABELS), (2.0, 0.7, 1.3), 1).phi()
    np.testing.assert_array_equal(found.quantised(step), quantise(phi, step))


def test_distances_are_given_away_once() -> None:
    found = cuda().measure(regions_of(LABELS), VOXEL, 1)
    found.values()
    with pytest.raises(RuntimeError, match="given away"):
        found.phi()


def test_the_order_in_which_threads_run_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    import cupy

    forwards = cuda().measure(regions_of(LABELS), (2.0, 0.7, 1.3), 1)
    monkeypatch.setattr(cupy.RawModule, "backwards", True)
    backwards = cuda().measure(regions_of(LABELS), (2.0, 0.7, 1.3), 1)
    np.testing.assert_array_equal(forwards.maxima, backwards.maxima)
    np.testing.assert_allclose(forwards.sums, backwards.sums, rtol=1e-12)
    np.testing.assert_array_equal(forwards.quantised(STEP), backwards.quantised(STEP))


def test_results_keep_their_memory_to_themselves() -> None:
    first = quantised_map(LABELS).values
    kept = first.copy()
    others = [quantised_map(np.flip(LABELS, axis)).values for axis in range(3)]
    np.testing.assert_array_equal(first, kept)
    assert not any(np.shares_memory(first, other) for other in others)


def test_pinned_memory_is_used_again() -> None:
    import cupy

    quantised_map(LABELS)
    before = cupy.get_default_pinned_memory_pool().n_free_blocks()
    for _ in range(3):
        quantised_map(LABELS)
    assert cupy.get_default_pinned_memory_pool().n_free_blocks() == before


def test_several_threads_at_once() -> None:
    volumes = [ellipsoids((17 + seed, 24, 30), 3, seed) for seed in range(6)]
    expected = [quantised_map(volume, backend="scipy").values for volume in volumes]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda volume: quantised_map(volume, backend="cuda").values, volumes * 3))
    for one, other in zip(found, expected * 3, strict=True):
        assert np.abs(one.astype(int) - other).max() <= 1  # float32 rounds at half a step now and then


def test_memory_is_given_back_once_distances_are_taken() -> None:
    import cupy

    before = cupy.get_default_memory_pool().used_bytes()
    found = cuda().measure(regions_of(LABELS), VOXEL, 1)
    assert cupy.get_default_memory_pool().used_bytes() > before
    found.quantised(STEP)
    assert cupy.get_default_memory_pool().used_bytes() == before


@pytest.mark.parametrize(("dtype", "bytes_per_voxel"), [(np.uint8, 9), (np.uint16, 10)])
def test_memory_a_voxel(dtype: type, bytes_per_voxel: int) -> None:
    from dmapsvc.maps.cuda_volume import Layout

    labels: NDArray[Any] = np.zeros((64, 256, 256), dtype)
    labels[0, 0, 0] = 300 if dtype is np.uint16 else 3
    size = Layout.of(regions_of(labels)).size
    assert bytes_per_voxel * labels.size <= size <= bytes_per_voxel * labels.size + 2**19


def test_a_volume_that_does_not_fit_is_refused_and_goes_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_GPU_MEMORY", str(1 << 24))
    refusal = cuda().refusal(regions_of(LABELS))
    assert refusal is not None
    assert "of the GPU's memory, of which 0.02 GiB are free" in refusal
    found = quantised_map(LABELS)
    assert found.backend == "numba"
    assert "cuda could not take this volume (it takes about 0.02 GiB" in found.notes[0]


def test_memory_that_runs_out_after_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_GPU_MEMORY", "1000")
    with pytest.raises(DeviceFull, match="memory ran out: Out of memory allocating"):
        cuda().measure(regions_of(LABELS), VOXEL, 1)
    monkeypatch.undo()
    check(LABELS)


def test_a_context_that_breaks_stays_broken(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    with fake_card(FAKE_GPU_BREAK=str(broken)):
        quantised_map(LABELS)
        broken.touch()
        with pytest.raises(DeviceLost, match="context broke: cudaErrorIllegalAddress"):
            quantised_map(LABELS)
        assert not broken.exists()
        with pytest.raises(DeviceLost):
            quantised_map(LABELS)
    check(LABELS)


def test_mending_compiles_past_the_cache_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUPY_CACHE_IN_MEMORY", "0")
    from dmapsvc.maps.cuda_kernels import kernels

    before = kernels(8)
    cuda().mend()
    assert os.environ["CUPY_CACHE_IN_MEMORY"] == "1"
    assert kernels(8) is not before
    check(LABELS)


@pytest.mark.parametrize(("file", "classes"), VOLUMES)
def test_real_volumes_whole(shared: Path, file: str, classes: tuple[int, ...] | None) -> None:
    """Against numba, which `test_maps_shared` holds against SciPy."""
    volume = read_labels(shared / file)
    regions = regions_of(volume.array, classes)
    assert volume.header.spacing is not None
    found = cuda().measure(regions, volume.header.spacing, 1)
    expected = backends.load_backend("numba").measure(regions, volume.header.spacing, 2)
    np.testing.assert_allclose(found.maxima, expected.maxima, rtol=1e-6)
    np.testing.assert_allclose(found.sums, expected.sums, rtol=1e-6)
    values = expected.values()
    difference = np.abs(found.values() - values)
    assert (difference <= 1e-6 * values).all()
