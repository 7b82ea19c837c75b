"""Settings: the environment, and what is derived from it."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from dmapsvc.errors import BadInput
from dmapsvc.maps import BACKENDS
from dmapsvc.settings import Settings, load_settings


def test_the_environment_sets_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DMAPSVC_DATA", str(tmp_path))
    monkeypatch.setenv("DMAPSVC_PORT", "9000")
    settings = Settings()
    assert (settings.data, settings.port) == (tmp_path, 9000)
    assert settings.sqlalchemy_url == f"sqlite:///{tmp_path}/jobs.sqlite"


def test_another_database_is_taken_as_it_is() -> None:
    assert Settings(database_url="postgresql://db/dmapsvc").sqlalchemy_url == "postgresql://db/dmapsvc"


def test_the_memory_budget_defaults_to_a_share_of_what_may_be_used() -> None:
    assert 0 < Settings().memory_budget_bytes <= 0.6 * psutil.virtual_memory().total
    assert Settings(memory_budget=1000).memory_budget_bytes == 1000


def test_nothing_that_is_written_lies_in_the_served_folder(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    for folder in (settings.staging, settings.spool, settings.locks):
        assert not folder.is_relative_to(settings.store_location)


@pytest.mark.parametrize("value", ["-1", "70000", "http"])
def test_a_port_that_cannot_be_one_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("DMAPSVC_PORT", value)
    with pytest.raises(BadInput, match=f"DMAPSVC_PORT='{value}'"):
        load_settings()


@pytest.mark.parametrize(
    ("device", "backend", "gpu"),
    [("auto", "auto", None), ("scipy", "scipy", None), ("cuda:0", "cuda", 0), ("auto:12", "auto", 12)],
)
def test_a_device_is_a_backend_and_perhaps_a_gpu(device: str, backend: str, gpu: int | None) -> None:
    settings = Settings(device=device)
    assert (settings.backend, settings.gpu) == (backend, gpu)


@pytest.mark.parametrize("device", ["", "gpu", "cuda:", "cuda:-1", "cuda:one", "numba:0", "cuda:0 ", "CUDA"])
def test_a_device_that_is_none_is_refused(device: str) -> None:
    with pytest.raises(BadInput, match=rf"DMAPSVC_DEVICE='{device}'; wanted auto, cuda, .* as in cuda:1\."):
        load_settings(device=device)


def test_the_devices_are_the_backends() -> None:
    for backend in BACKENDS:
        assert Settings(device=backend).backend == backend


def test_every_setting_says_what_it_is_for() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
