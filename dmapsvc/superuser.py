"""Processes that run as root, which none of this project's has a reason to, and whose their files are."""

from __future__ import annotations

import logging
import os
from pathlib import Path


def warn_superuser(log: logging.Logger) -> None:
    """Say so in `log` if this process may do anything to this machine."""
    if os.geteuid() == 0:
        log.warning("this process runs as root; a user of its own who owns the data folder is enough")


def open_owned(path: Path, flags: int) -> int:
    """A descriptor of `path`, which is made, with mode 0600, if it is not there. Raises OSError.

    What root makes so is the folder's owner's; what was there stays whose it is, as it may be a link to
    anything.
    """
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
    hand_over(descriptor, path.parent)
    return descriptor


def hand_over(descriptor: int, owned: Path) -> None:
    """As root, give an open file that is new to the owner of `owned`, who must read it later."""
    if os.geteuid() == 0:
        owner = owned.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
