"""What a worker does in a test, light to import: it ends its process for one of the names."""

from __future__ import annotations

import os


def call_or_die(name: str) -> str:
    """`name`; of `poison` the process is ended, as the system ends one that takes too much memory."""
    if name == "poison":
        os.kill(os.getpid(), 9)
    return name
