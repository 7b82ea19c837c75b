"""What was collected of one kind, and the age from which a file that nobody claims counts as left behind."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

OLD = 3600.0  # seconds; chosen: whoever makes a file claims it within seconds


class Found(NamedTuple):
    """How many things, and the bytes they took on disk."""

    number: int
    bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How many of `what` were found, and the bytes they took on disk; `fault` is why they could not be looked
    at or removed.
    """

    what: str
    count: int = 0
    bytes: int = 0
    fault: str | None = None


def is_old(path: Path) -> bool:
    """Whether nobody has written to `path` for so long that its maker must be dead; no if it is gone."""
    try:
        return time.time() - path.stat().st_mtime > OLD
    except FileNotFoundError:
        return False


def size_of(path: Path) -> int:
    """The bytes of a file, or of all files below a folder; those that go meanwhile count nothing."""
    try:
        if path.is_dir():
            return sum(size_of(entry) for entry in path.iterdir())
        return path.stat().st_size
    except FileNotFoundError:
        return 0
