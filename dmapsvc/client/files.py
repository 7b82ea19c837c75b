"""Files on their way: a body read in blocks, a download that appears whole or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from dmapsvc.errors import BadFile, BadInput

BLOCK = 1 << 20  # bytes of a body that are in memory at once
Progress = Callable[[int], None]
"""Called with the bytes of each block that has passed."""


def open_body(path: Path) -> BinaryIO:
    """`path` open for reading; raises BadFile."""
    try:
        return path.open("rb")
    except OSError as error:
        raise BadFile(f"{path}: {error.strerror}", "wanted a file that can be read") from None


def blocks(body: BinaryIO, progress: Progress | None) -> Iterator[bytes]:
    """The bytes of `body` in blocks."""
    while block := body.read(BLOCK):
        yield block
        if progress is not None:
            progress(len(block))


@contextmanager
def whole(to: Path) -> Iterator[BinaryIO]:
    """A file beside `to` that takes its name at the end, and is removed if anything goes wrong before.

    Raises BadInput where no file can be made.
    """
    part = to.with_name(f".{to.name}.{secrets.token_hex(4)}.part")
    try:
        file = part.open("xb")
    except OSError as error:
        raise BadInput(f"{to}: {error.strerror}", "wanted a place where a file can be written") from None
    try:
        with file:
            yield file
        part.replace(to)
    finally:
        part.unlink(missing_ok=True)
