"""Files on their way: a body read in blocks, a download that appears whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from dmapsvc.errors import BadFile, BadInput
from dmapsvc.whole import whole

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
def new_file(to: Path) -> Iterator[BinaryIO]:
    """A file beside `to` that takes its name at the end, and is removed if anything goes wrong before.

    Raises BadInput where no file can be made.
    """
    with ExitStack() as stack:
        try:
            part = stack.enter_context(whole(to))
        except OSError as error:
            raise BadInput(f"{to}: {error.strerror}", "wanted a place where a file can be written") from None
        yield part
