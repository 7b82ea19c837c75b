"""A folder for one process at a time: the others are refused, or wait."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from dmapsvc.compare.lock import alone_in
from dmapsvc.errors import BadInput, Conflict


def test_a_second_one_is_refused_until_the_first_has_left(tmp_path: Path) -> None:
    with alone_in(tmp_path / "new"):
        with pytest.raises(Conflict, match=r"new: another .* is at work there"), alone_in(tmp_path / "new"):
            pass
        with alone_in(tmp_path / "other"):
            pass
    with alone_in(tmp_path / "new"):
        pass


def test_one_that_waits_enters_when_the_other_has_left(tmp_path: Path) -> None:
    order: list[str] = []

    def wait() -> None:
        with alone_in(tmp_path, wait=True):
            order.append("waited")

    with alone_in(tmp_path):
        waiting = threading.Thread(target=wait)
        waiting.start()
        waiting.join(timeout=0.2)
        assert waiting.is_alive()
        order.append("first")
    waiting.join(timeout=10)
    assert order == ["first", "waited"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="wanted a folder"), alone_in(tmp_path / "file" / "below"):
        pass
