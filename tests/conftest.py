"""Fixtures that every room's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real label volumes that lies beside a development checkout."""
    if not SHARED.is_dir():
        pytest.skip("the real volumes of ../shared/data are not here")
    return SHARED
