"""A folder that one process works in at a time, told by a file in it that is locked; on one machine."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from dmapsvc.errors import BadInput, Conflict

_log = logging.getLogger(__name__)


@contextmanager
def alone_in(folder: Path, *, what: str, file: str = ".lock", wait: bool = False) -> Iterator[None]:
    """Inside, no other process is inside for `file` of `folder`, which is made. `what`: 'comparison', say.

    The kernel gives the lock back, however the process ends; the file goes with it, unless the process was
    killed. A folder that was made, and in which nothing was written when an error came, goes again. On a disk
    without locks a warning is logged, and nobody is kept out. Raises Conflict if another process is inside,
    unless it is to `wait`; BadInput if the folder cannot be written.
    """
    made = not folder.exists()
    try:
        with _held(folder / file, what=what, wait=wait):
            yield
    except BaseException:
        if made:
            with suppress(OSError):  # something is in it
                folder.rmdir()
        raise


@contextmanager
def _held(path: Path, *, what: str, wait: bool) -> Iterator[None]:
    with _lock(path, what=what, wait=wait):
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink()


def _lock(path: Path, *, what: str, wait: bool) -> IO[str]:
    """The file at `path`, locked: the one that is there, not one that who held it has removed since."""
    while True:
        held = _open(path)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            held.close()
            raise Conflict(
                f"{path.parent}: another {what} is at work there", "one at a time", "Wait for it, or stop it"
            ) from None
        except OSError as error:  # some network file systems have none
            _log.warning(
                "%s cannot be locked (%s): take care that one %s is at work there", path.parent, error, what
            )
            return held
        with suppress(OSError):
            if os.path.samestat(os.fstat(held.fileno()), path.stat()):
                return held
        held.close()


def _open(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a")
    except OSError as error:
        raise BadInput(
            f"{path.parent}: {error.strerror}", "wanted a folder to write to", "Name another"
        ) from None
