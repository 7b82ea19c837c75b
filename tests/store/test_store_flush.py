"""A case is on disk, not only in memory, before it has its name: what is published survives a power cut."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dmapsvc.store import Dataset, files

if TYPE_CHECKING:
    from tests.store.conftest import Maps

Place = tuple[int, int]


def place(status: os.stat_result) -> Place:
    return status.st_dev, status.st_ino


@pytest.fixture
def renamed(monkeypatch: pytest.MonkeyPatch) -> list[set[Place]]:
    """The files and folders that were flushed by then, rename after rename."""
    flushed: set[Place] = set()
    renamed: list[set[Place]] = []
    fsync, rename = os.fsync, Path.rename

    def flush(descriptor: int) -> None:
        flushed.add(place(os.fstat(descriptor)))
        fsync(descriptor)

    def name(self: Path, target: Path) -> Path:
        renamed.append(set(flushed))
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(Path, "rename", name)
    return renamed


def test_one_by_one_every_file_and_folder_is_flushed_before_the_name(
    dataset: Dataset, maps: Maps, renamed: list[set[Place]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_syncfs", None)
    maps.publish(dataset, "a", "a" * 64)
    case = dataset.path / "a"
    assert {place(path.stat()) for path in (case, *case.rglob("*"))} <= renamed[-1]


def test_where_a_file_system_can_be_flushed_it_is_once_all_is_written(
    dataset: Dataset, maps: Maps, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[list[Path]] = []

    def syncfs(descriptor: int) -> None:
        new = Path(f"/proc/self/fd/{descriptor}").readlink()
        written.append(sorted(path.relative_to(new) for path in new.rglob("*") if path.is_file()))

    monkeypatch.setattr(files, "_syncfs", syncfs)
    maps.publish(dataset, "a", "a" * 64)
    case = dataset.path / "a"
    assert written == [sorted(path.relative_to(case) for path in case.rglob("*") if path.is_file())]


@pytest.mark.parametrize("which", ["_syncfs", "fsync"])
def test_a_case_that_cannot_be_flushed_is_not_published(
    dataset: Dataset, maps: Maps, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if which == "fsync":
        monkeypatch.setattr(files, "_syncfs", None)
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(files, "_syncfs", full)
    with pytest.raises(OSError, match="No space left"):
        maps.publish(dataset, "a", "a" * 64)
    assert "a" not in dataset


@pytest.mark.parametrize(
    ("system", "release", "found"),
    [
        ("Linux", "6.1.0-9-amd64", True),
        ("Linux", "6.8-rc1", True),
        ("Linux", "5.8.0", True),
        ("Linux", "5.7.19", False),
        ("Linux", "4.18.0-553.el8", False),
        ("Darwin", "23.1.0", False),
    ],
)
def test_a_call_that_keeps_quiet_of_errors_is_not_used(
    monkeypatch: pytest.MonkeyPatch, system: str, release: str, found: bool
) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.release", lambda: release)
    assert (files._find_syncfs() is not None) is found


def test_the_call_reports_its_error() -> None:
    syncfs: Callable[[int], None] | None = files._find_syncfs()
    if syncfs is not None:
        with pytest.raises(OSError, match="Bad file descriptor"):
            syncfs(-1)
