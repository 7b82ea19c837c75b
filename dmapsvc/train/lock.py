"""A folder that one process works in at a time, told by a file in it that is locked; on one machine."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dmapsvc.errors import BadInput, Conflict

_log = logging.getLogger(__name__)


@contextmanager
def alone_in(folder: Path, *, what: str, file: str = ".lock", wait: bool = False) -> Iterator[None]:
    """Inside, no other process is inside for `file` of `folder`, which is made. `what`: 'comparison', say.

    The kernel gives the lock back, however the process ends. A folder that was made, and in which nothing was
    written when an error came, goes again. On a disk without locks a warning is logged, and nobody is kept
    out. Raises Conflict if another process is inside, unless it is to `wait`; BadInput if the
    folder cannot be written.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = (folder / file).open("a")
    except OSError as error:
        raise BadInput(f"{folder}: {error.strerror}", "wanted a folder to write to", "Name another") from None
    with held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise Conflict(
                f"{folder}: another {what} is at work there", "one at a time", "Wait for it, or stop it"
            ) from None
        except OSError as error:  # some network file systems have none
            _log.warning(
                "%s cannot be locked (%s): take care that one %s is at work there", folder, error, what
            )
        try:
            yield
        except BaseException:
            if made and [path.name for path in folder.iterdir()] == [file]:
                (folder / file).unlink()
                folder.rmdir()
            raise
