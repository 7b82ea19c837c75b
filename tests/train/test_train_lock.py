"""A folder for one process at a time: the others are refused, or wait."""

from __future__ import annotations

import errno
import os
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from dmapsvc.errors import BadInput, Conflict
from dmapsvc.train.lock import alone_in


def _alone(folder: Path, **how: Any) -> AbstractContextManager[None]:
    return alone_in(folder, what="training", **how)


def test_a_second_one_is_refused_until_the_first_has_left(tmp_path: Path) -> None:
    with _alone(tmp_path / "new"):
        says = "new: another training is at work there"
        with pytest.raises(Conflict, match=says), _alone(tmp_path / "new"):
            pass
        with _alone(tmp_path / "other"), _alone(tmp_path / "new", file=".other"):
            pass
    with _alone(tmp_path / "new"):
        pass


def test_a_disk_without_locks_is_told_and_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unknown(file: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", unknown)
    with _alone(tmp_path):
        assert "cannot be locked" in caplog.text


def test_one_that_waits_enters_when_the_other_has_left(tmp_path: Path) -> None:
    order: list[str] = []

    def wait() -> None:
        with _alone(tmp_path, wait=True):
            order.append("waited")

    with _alone(tmp_path):
        waiting = threading.Thread(target=wait)
        waiting.start()
        waiting.join(timeout=0.2)
        assert waiting.is_alive()
        order.append("first")
    waiting.join(timeout=10)
    assert order == ["first", "waited"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="wanted a folder"), _alone(tmp_path / "file" / "below"):
        pass


def test_a_folder_that_came_to_nothing_goes_and_one_that_was_there_stays(tmp_path: Path) -> None:
    def fail(folder: Path, *, write: bool = False) -> None:
        with alone_in(folder, what="training"):
            if write:
                (folder / "something").touch()
            raise ZeroDivisionError

    (tmp_path / "there").mkdir()
    with pytest.raises(ZeroDivisionError):
        fail(tmp_path / "there")
    with pytest.raises(ZeroDivisionError):
        fail(tmp_path / "new")
    with pytest.raises(ZeroDivisionError):
        fail(tmp_path / "used", write=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there", "used"]
