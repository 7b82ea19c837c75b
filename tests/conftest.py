"""Fixtures that every room's tests share."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# no clock decides, as a busy machine is slow; and the same examples are tried each time
settings.register_profile(
    "suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")

# a shell's & has the one ignored, nohup the other, here and in children
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of this test: copies of remote cases never go to the user's."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DMAPSVC_CACHE", str(cache))
    return cache


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real label volumes that lies beside a development checkout."""
    if not SHARED.is_dir():
        pytest.skip("the real volumes of ../shared/data are not here")
    return SHARED
