"""Processes that run as root, which none of this project's has a reason to."""

from __future__ import annotations

import logging
import os


def warn_superuser(log: logging.Logger) -> None:
    """Say so in `log` if this process may do anything to this machine."""
    if os.geteuid() == 0:
        log.warning("this process runs as root; a user of its own who owns the data folder is enough")
