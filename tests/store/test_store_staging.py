"""Entries of the staging folder: whose they are while their process lives, and what becomes of them after."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from dmapsvc.store.staging import Staging


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    (tmp_path / "knees.zarr").mkdir()
    return Staging(tmp_path / "staging", tmp_path / "knees.zarr")


def test_an_entry_is_locked_by_a_file_that_a_network_disk_can_lock_too(
    staging: Staging, tmp_path: Path
) -> None:
    with staging.entry("a") as entry:
        lock = tmp_path / "staging" / "alive" / entry.name
        with lock.open("r+b") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert staging.dead() == []
        staging.sweep()
        assert entry.is_dir()
    assert not entry.exists()
    assert not lock.exists()


@pytest.mark.parametrize("what", ["work", "alive"])
def test_half_an_entry_that_a_dead_process_left_is_swept(staging: Staging, tmp_path: Path, what: str) -> None:
    left = tmp_path / "staging" / what / "a~0123"
    left.parent.mkdir(parents=True)
    left.mkdir() if what == "work" else left.touch()
    staging.sweep()
    assert not left.exists()
    assert list((tmp_path / "staging" / "alive").iterdir()) == []
