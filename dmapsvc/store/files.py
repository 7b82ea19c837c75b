"""Small file operations that a published case rests on: JSON, hard-linked trees, flushing to disk.

Nothing here knows what a case is.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write `data` as a new file; `flush_tree` makes it survive a power cut."""
    with path.open("x", encoding="utf-8") as file:
        file.write(
            json.dumps(data, allow_nan=False)
        )  # in C; with an indent it would take eight times as long


def replace_json(path: Path, data: Mapping[str, Any], *, temporary: Path) -> None:
    """Replace the file `path` in one step; `temporary` is a folder on the same file system."""
    written = temporary / uuid.uuid4().hex
    write_json(written, data)
    _flush(written)
    written.replace(path)
    flush_folder(path.parent)


def read_json(path: Path) -> Any:
    """The JSON in `path`; raises FileNotFoundError, ValueError."""
    try:
        return json.loads(path.read_bytes())
    except NotADirectoryError:
        raise FileNotFoundError(path) from None


def link_tree(source: Path, target: Path) -> None:
    """Make the new folder `target` with every file of `source` hard-linked: no copy, and neither loses the
    other's.
    """
    target.mkdir()
    for entry in sorted(source.iterdir()):
        if entry.is_dir():
            link_tree(entry, target / entry.name)
        else:
            (target / entry.name).hardlink_to(entry)


def flush_folder(path: Path) -> None:
    """Flush the names in a folder to disk."""
    _flush(path)


def flush_tree(path: Path) -> None:
    """Flush a folder and all that is in it to disk; raises OSError where something could not be written.

    Its whole file system is flushed where that is one call: a case is two dozen files and folders, of which
    each would wait for the disk on its own.
    """
    if _syncfs is not None:
        _flush(path, _syncfs)
        return
    for folder, _, files in os.walk(path):
        for file in files:
            _flush(Path(folder, file))
        flush_folder(Path(folder))


def _flush(path: Path, flush: Callable[[int], object] | None = None) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        (flush or os.fsync)(descriptor)
    finally:
        os.close(descriptor)


def _find_syncfs() -> Callable[[int], None] | None:
    """Linux's call that flushes the file system of a descriptor; None where it would keep quiet of errors."""
    release = re.match(r"(\d+)\.(\d+)", platform.release())
    if platform.system() != "Linux" or release is None or tuple(map(int, release.groups())) < (5, 8):
        return None
    call = ctypes.CDLL(None, use_errno=True).syncfs

    def syncfs(descriptor: int) -> None:
        if call(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return syncfs


_syncfs = _find_syncfs()
