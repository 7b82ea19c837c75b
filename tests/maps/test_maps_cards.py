"""What is said of GPUs, over a stand-in for CuPy."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from dmapsvc.errors import DeviceFailed, DeviceFull, DeviceLost, DeviceMissing
from dmapsvc.maps import choose_backend
from dmapsvc.maps.cards import card_errors, free_memory, require_card, shortage
from tests.maps.fake_card import fake_card


@pytest.fixture(autouse=True)
def card() -> Iterator[None]:
    with fake_card():
        yield


@pytest.fixture
def cupy() -> Any:
    import cupy

    return cupy


def test_a_card_that_works() -> None:
    require_card()


def test_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_GPU_COUNT", "0")
    with pytest.raises(DeviceMissing, match=r"finds no GPU\. See nvidia-smi"):
        require_card()


@pytest.mark.parametrize(
    ("status", "driver", "error"),
    [
        (100, 13000, DeviceMissing),  # cudaErrorNoDevice
        (35, 0, DeviceMissing),  # cudaErrorInsufficientDriver: there is none
        (35, 12000, DeviceFailed),
        (803, 13000, DeviceFailed),  # cudaErrorSystemDriverMismatch
    ],
)
def test_a_driver_that_does_not_fit_is_told_from_none(
    monkeypatch: pytest.MonkeyPatch, cupy: Any, status: int, driver: int, error: type[DeviceFailed]
) -> None:
    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", lambda: fail(cupy, status))
    monkeypatch.setattr(cupy.cuda.runtime, "driverGetVersion", lambda: driver)
    with pytest.raises(DeviceFailed) as raised:
        require_card()
    assert type(raised.value) is error


def test_a_cupy_that_cannot_be_imported_is_not_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr("dmapsvc.maps.cards.find_spec", lambda name: object())
    assert choose_backend() == "numba"
    assert "backend cuda does not work here: ModuleNotFoundError" in caplog.text


def test_what_is_free_and_what_is_short(monkeypatch: pytest.MonkeyPatch, cupy: Any) -> None:
    monkeypatch.setenv("FAKE_GPU_MEMORY", str(3 << 30))
    held = cupy.empty(1 << 30, "u1")
    assert free_memory() == 2 << 30
    assert shortage(2 << 30) is None
    assert shortage(5 << 29) == "it takes about 2.50 GiB of the GPU's memory, of which 2.00 GiB are free"
    del held
    assert free_memory() == 3 << 30


@pytest.mark.parametrize("api", ["runtime", "driver"])
def test_errors_of_cuda_by_what_can_be_done(cupy: Any, api: str) -> None:
    with pytest.raises(DeviceFull, match="ran out"), card_errors():
        fail(cupy, 2, api)
    with pytest.raises(DeviceFailed, match="the GPU failed") as raised, card_errors():
        fail(cupy, 1, api)
    assert type(raised.value) is DeviceFailed
    cupy._card._broken = True
    with pytest.raises(DeviceLost, match="the GPU's context broke"), card_errors():
        fail(cupy, 1, api)


def test_other_errors_are_not_the_cards() -> None:
    with pytest.raises(ZeroDivisionError), card_errors():
        raise ZeroDivisionError


def fail(cupy: Any, status: int, api: str = "runtime") -> None:
    errors = {"runtime": cupy.cuda.runtime.CUDARuntimeError, "driver": cupy.cuda.driver.CUDADriverError}
    raise errors[api](status)
