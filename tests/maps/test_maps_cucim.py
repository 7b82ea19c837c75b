"""The cucim backend over stand-ins for CuPy and cuCIM: what it must handle of the real ones."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dmapsvc.errors import DeviceFailed, DeviceFull, DeviceLost
from dmapsvc.maps import penalty_map
from dmapsvc.maps.backends import load_backend
from dmapsvc.maps.regions import region_map
from dmapsvc.spec import MapSpec, Quantisation, Spacing
from tests.maps.backend_contract import BackendContract
from tests.maps.fake_card import fake_card
from tests.maps.reference import VOXEL, ellipsoids, full_volumes

MIB = 1 << 20


@pytest.fixture(scope="module", autouse=True)
def card() -> Iterator[None]:
    with fake_card():
        yield


class TestCucim(BackendContract):
    name = "cucim"
    longest = 800  # which becomes 800 cubed on the card


def check(labels: NDArray[Any], spacing: Spacing = VOXEL) -> None:
    found = load_backend("cucim").measure(region_map(labels, MapSpec()), spacing, 1).values()
    np.testing.assert_allclose(found, full_volumes(labels, spacing).distances, rtol=1e-6, atol=0)


def refusal(*shape: int) -> str | None:
    return load_backend("cucim").refusal(region_map(np.zeros(shape, np.uint8), MapSpec()))


@pytest.mark.parametrize("spacing", [VOXEL, (0.36, 0.36, 0.36), (0.7, 0.36, 1.5)])
@pytest.mark.parametrize(
    "shape", [(1, 40, 33), (40, 1, 33), (40, 33, 1), (1, 1, 40), (40, 1, 1), (32, 32, 32)]
)
def test_axes_of_one_voxel_are_left_out(shape: tuple[int, int, int], spacing: Spacing) -> None:
    labels = (np.random.default_rng(0).random(shape) < 0.7).astype(np.uint8)
    check(labels, spacing)
    check(labels + 1, spacing)  # no background


def test_without_cucim_its_copy_in_cupy_is_asked_for_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_card():
        monkeypatch.setattr(load_backend("cucim"), "find_spec", lambda name: None)
        check(ellipsoids((20, 24, 28), 3), (0.7, 0.36, 0.36))
        assert "cucim" not in sys.modules


def test_the_background_is_transformed_once_and_the_rest_in_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []
    backend: Any = load_backend("cucim")
    transform = backend._implementation()

    def watched(image: Any, **options: Any) -> Any:
        shapes.append(image.shape)
        return transform(image, **options)

    monkeypatch.setattr(backend, "_implementation", lambda: watched)
    labels = np.zeros((30, 40, 50), np.uint8)
    labels[5:8, 10:20, 30:31] = 4
    labels[:2, 39:, :] = 9
    check(labels)
    assert shapes == [(30, 40, 50), (5, 12, 3), (3, 2, 50)]


def test_an_axis_that_coordinates_of_ten_bits_cannot_count_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAKE_GPU_MEMORY", str(10 << 30))
    assert refusal(2, 1024, 3) is None
    assert refusal(2, 3, 1025) == "an axis of 1025 voxels is longer than 1024"
    assert refusal(1, 3, 1025) == "an axis of 1025 voxels is longer than 1024"


def test_the_card_must_hold_the_padded_cube_not_the_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plate of 2 x 500 x 500 becomes 512 cubed."""
    monkeypatch.setenv("FAKE_GPU_MEMORY", str(1000 * MIB))
    words = refusal(2, 500, 500)
    assert words is not None
    assert "1.19 GiB of the GPU's memory, of which 0.98 GiB are free" in words
    assert refusal(1, 500, 500) is None
    monkeypatch.setenv("FAKE_GPU_MEMORY", str(1300 * MIB))
    assert refusal(2, 500, 500) is None


@pytest.mark.parametrize("shape", [(70, 60, 50), (64, 64, 64), (1, 300, 200), (120, 10, 10)])
def test_what_is_not_refused_does_not_run_out(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int, int]
) -> None:
    """The estimate holds for all that the backend asks for, less what it allows for beside the volume."""
    labels = np.random.default_rng(0).integers(0, 3, shape, np.uint16) * 300
    backend, regions = load_backend("cucim"), region_map(labels, MapSpec())
    beside = sys.modules["dmapsvc.maps.cucim_backend"]._BYTES_BESIDES
    for memory in range(beside, beside + 64 * MIB, MIB // 4):
        monkeypatch.setenv("FAKE_GPU_MEMORY", str(memory))
        if backend.refusal(regions) is None:
            break
    monkeypatch.setenv("FAKE_GPU_MEMORY", str(memory - beside))
    backend.measure(regions, (1.0, 2.0, 3.0), 1).quantised(Quantisation(scale_factor=0.1))


def test_memory_that_runs_out_is_said_to_have(monkeypatch: pytest.MonkeyPatch) -> None:
    regions, backend = region_map(ellipsoids((40, 40, 40), 2), MapSpec()), load_backend("cucim")
    backend.measure(regions, VOXEL, 1)
    monkeypatch.setenv("FAKE_GPU_MEMORY", str(MIB))
    with pytest.raises(DeviceFull, match=r"the GPU's memory ran out: Out of memory allocating .* 'auto'"):
        backend.measure(regions, VOXEL, 1)
    monkeypatch.delenv("FAKE_GPU_MEMORY")
    backend.measure(regions, VOXEL, 1)


def test_a_volume_that_is_refused_by_name_says_what_to_do() -> None:
    labels = np.zeros((2, 3, 1100), np.uint8)
    labels[0, 0, 0] = 1
    with pytest.raises(DeviceFailed, match=r"cucim could not .* 1100 voxels is longer than 1024.*'auto'"):
        penalty_map(labels, backend="cucim")


def test_a_context_that_breaks_is_lost_for_good(tmp_path: Any) -> None:
    labels, backend = ellipsoids((10, 10, 10), 2), load_backend("cucim")
    regions = region_map(labels, MapSpec())
    with fake_card(FAKE_GPU_BREAK=str(tmp_path / "break")):
        backend = load_backend("cucim")
        distances = backend.measure(regions, VOXEL, 1)
        (tmp_path / "break").touch()
        for use in (distances.values, distances.phi, lambda: backend.measure(regions, VOXEL, 1)):
            with pytest.raises(DeviceLost, match="the GPU's context broke: cudaErrorIllegalAddress"):
                distances.phi()
            with pytest.raises(DeviceLost):
                use()
        with pytest.raises(DeviceLost):
            backend.refusal(regions)
