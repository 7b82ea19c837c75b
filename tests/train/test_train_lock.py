"""A folder for one process at a time: the others are refused, or wait."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
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
        assert [path.name for path in (tmp_path / "new").iterdir()] == [".lock"]
    assert not list((tmp_path / "new").iterdir())


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


def test_a_file_that_its_holder_removed_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened before the holder left, locked after it: then a third would lock the file that is there next."""
    order: list[str] = []
    real = fcntl.flock

    def too_late(file: Any, operation: int) -> None:
        real(file, operation)
        if not order:
            (tmp_path / ".lock").unlink()
        order.append("locked")

    monkeypatch.setattr("fcntl.flock", too_late)
    with _alone(tmp_path):
        assert order == ["locked", "locked"]
        with pytest.raises(Conflict), _alone(tmp_path):
            pass


def test_an_error_is_told_though_the_folder_is_gone(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        with alone_in(folder, what="training"):
            shutil.rmtree(folder)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail(tmp_path / "new")


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
    with pytest.raises(ZeroDivisionError), _alone(tmp_path / "twice", file=".outer"):
        fail(tmp_path / "twice")
    with pytest.raises(ZeroDivisionError):
        fail(tmp_path / "new")
    with pytest.raises(ZeroDivisionError):
        fail(tmp_path / "used", write=True)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "there",
        "used",
        "used/something",
    ]
