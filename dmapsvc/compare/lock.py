"""A folder that one process works in at a time, told by a file in it that is locked; on one machine."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dmapsvc.errors import BadInput, Conflict


@contextmanager
def alone_in(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Inside, no other process is inside for `folder`, which is made.

    The kernel gives the lock back, however the process ends. Raises Conflict if another process is inside,
    unless it is to `wait`; BadInput if the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("a")
    except OSError as error:
        raise BadInput(f"{folder}: {error.strerror}", "wanted a folder to write to", "Name another") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise Conflict(
                f"{folder}: another comparison is at work there", "one at a time", "Wait for it, or stop it"
            ) from None
        yield
