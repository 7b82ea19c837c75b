"""Small file operations that a published case rests on: flushed JSON, hard-linked trees, flushed folders.

Nothing here knows what a case is.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write `data` as a new file and flush it to disk."""
    with path.open("x", encoding="utf-8") as file:
        json.dump(data, file, indent=1, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())


def replace_json(path: Path, data: Mapping[str, Any], *, temporary: Path) -> None:
    """Replace the file `path` in one step; `temporary` is a folder on the same file system."""
    written = temporary / uuid.uuid4().hex
    write_json(written, data)
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
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_tree(path: Path) -> None:
    """Flush the names in a folder and in all below it; the files themselves were flushed when written."""
    for folder, _, _ in os.walk(path):
        flush_folder(Path(folder))
