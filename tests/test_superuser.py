"""Running as root is told, and nobody else is bothered."""

from __future__ import annotations

import logging
import os

import pytest

from dmapsvc.superuser import warn_superuser


@pytest.mark.parametrize(("user", "lines"), [(0, 1), (1000, 0)])
def test_root_is_warned(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, user: int, lines: int
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    with caplog.at_level(logging.INFO):
        warn_superuser(logging.getLogger("worker"))
    assert [record.levelname for record in caplog.records] == ["WARNING"] * lines
