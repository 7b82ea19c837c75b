"""Files that are written whole or not at all, whatever ends the writing. What a dataset publishes, in whole
folders, is `dmapsvc.store`'s.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What an OSError has as its `errno` when the disk, or the share of it that one may use, is full."""


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A hidden file beside `path` that takes its name once the block is through and the disk has it; removed
    if anything goes wrong before. Raises OSError.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    file = part.open("xb")
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` in UTF-8 to `path`, in the place of what was there. Raises OSError."""
    with whole(path) as file:
        file.write(text.encode())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` likewise, as indented JSON. Raises OSError."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
