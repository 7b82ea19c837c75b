"""The backends of the CPU, held to the contract, and how one is chosen."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from dmapsvc.errors import DeviceFailed, DeviceMissing
from dmapsvc.maps import BACKENDS, backends, choose_backend
from tests.maps.backend_contract import BackendContract


class TestScipy(BackendContract):
    name = "scipy"


class TestNumba(BackendContract):
    name = "numba"


def test_every_backend_is_held_to_the_contract() -> None:
    for file in Path(__file__).parent.glob("test_maps_*.py"):
        import_module(f"tests.maps.{file.stem}")
    assert {contract.name for contract in BackendContract.__subclasses__()} == set(BACKENDS)


@pytest.fixture
def no_card(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without a GPU, whatever this one has."""

    def require_card() -> None:
        raise DeviceMissing("CuPy is not installed")

    monkeypatch.setattr(backends, "require_card", require_card)
    backends._fault.cache_clear()
    yield
    backends._fault.cache_clear()


def test_auto_is_the_fastest_that_works(no_card: None) -> None:
    assert choose_backend() == choose_backend("auto") == "numba"
    assert choose_backend("scipy") == "scipy"


def test_auto_falls_back_to_scipy_and_says_why(
    no_card: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = {**backends._MODULES, "numba": "dmapsvc.maps.no_such_module"}
    monkeypatch.setattr(backends, "_MODULES", broken)
    assert choose_backend() == choose_backend() == "scipy"
    (said,) = caplog.messages
    assert "numba does not work here: ModuleNotFoundError" in said
    with pytest.raises(DeviceFailed, match=r"'numba' does not work here: ModuleNotFoundError.*Choose 'auto'"):
        choose_backend("numba")


def test_an_unknown_backend() -> None:
    with pytest.raises(DeviceFailed, match=r"'abacus'; wanted auto, cuda, cucim, numba or scipy"):
        choose_backend("abacus")
