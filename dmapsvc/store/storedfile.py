"""A file of the store as it was when it was opened, for whoever hands it on: its size, its tag, its bytes.

Which files are for others to see is decided here too: those below `<dataset>.zarr`, no hidden name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

BLOCK = 2**20  # bytes handed on at once


class StoredFile(Protocol):
    """An open file: what was opened is read, whatever becomes of its name meanwhile, or nothing is."""

    @property
    def size(self) -> int:
        """Its bytes."""

    @property
    def tag(self) -> str:
        """What tells it from another of this name, in quotes, as HTTP's ETag."""

    def blocks(self, begin: int, end: int) -> Iterator[bytes]:
        """The bytes from `begin` to before `end`. Raises OSError if they cannot all be had."""

    def close(self) -> None:
        """Let go of it."""


class LocalFile:
    """An open file of this machine, which is closed with this."""

    def __init__(self, file: BinaryIO) -> None:
        facts = os.fstat(file.fileno())
        self._file, self.size = file, facts.st_size
        self.tag = f'"{facts.st_ino:x}-{facts.st_mtime_ns:x}-{self.size:x}"'

    def blocks(self, begin: int, end: int) -> Iterator[bytes]:
        """As `StoredFile` says."""
        while begin < end:
            block = os.pread(self._file.fileno(), min(BLOCK, end - begin), begin)
            if not block:
                raise OSError("a file got shorter while it was sent")
            begin += len(block)
            yield block

    def close(self) -> None:
        """As `StoredFile` says."""
        self._file.close()


def is_shown(path: str) -> bool:
    """Whether a file at `path`, from the root of the store, may be seen from outside, if it is there."""
    names = path.split("/")
    return names[0].endswith(".zarr") and not any(name == "" or name.startswith(".") for name in names)


def open_below(root: Path, path: str) -> LocalFile | None:
    """The file at `path` below the folder `root`; None for all that is not shown, as by a link that leads
    out.
    """
    if not is_shown(path):
        return None
    try:
        real = Path(os.path.realpath(root / path))
        real.relative_to(os.path.realpath(root))
        return LocalFile(real.open("rb")) if real.is_file() else None
    except (OSError, ValueError):  # ValueError: a NUL, or it leads out
        return None
