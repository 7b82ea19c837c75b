"""The card itself: how much memory it has left, and whether its context is broken.

`FAKE_GPU_MEMORY`: its memory in bytes, 8 GiB if not set; `FAKE_GPU_TAKEN`: bytes of it that somebody else
takes when it is too late to know. `FAKE_GPU_BREAK`: a path; the first kernel that finds a file there deletes
it and breaks the context: that kernel, which fails when it is waited for, and every later call of this
process raise CUDA's error 700. A file that holds a number stays, and breaks it when so many bytes are
allocated. `FAKE_GPU_COUNT`: how many such cards there are, 1 if not set.
"""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path

_lock = threading.RLock()
_used = 0
_broken = False


_MESSAGES = {700: "cudaErrorIllegalAddress: an illegal memory access was encountered"}


class CUDARuntimeError(RuntimeError):
    """An error of the runtime API; `status` is CUDA's number of it."""

    def __init__(self, status: int) -> None:
        super().__init__(_MESSAGES.get(status, f"cudaError {status}"))
        self.status = status


class CUDADriverError(RuntimeError):
    """An error of the driver API; `status` is CUDA's number of it."""

    def __init__(self, status: int) -> None:
        super().__init__(f"CUDA_ERROR: {status}")
        self.status = status


class OutOfMemoryError(MemoryError):
    """An allocation that the card has no room for."""

    def __init__(self, size: int, total: int) -> None:
        super().__init__(f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes).")


class Allocation:
    """Bytes of the card, given back when nothing refers to this object any more."""

    def __init__(self, size: int) -> None:
        global _used
        check()
        with _lock:
            if _used + size > total_memory() - int(os.environ.get("FAKE_GPU_TAKEN", 0)):
                raise OutOfMemoryError(size, _used)
            _used += size
        weakref.finalize(self, _give_back, size).atexit = False


def _give_back(size: int) -> None:
    global _used
    with _lock:
        _used -= size


def total_memory() -> int:
    """All of the card's memory, in bytes."""
    return int(os.environ.get("FAKE_GPU_MEMORY", 8 << 30))


def used_memory() -> int:
    """What is allocated of it."""
    return _used


def check() -> None:
    """What every call does first: raise if the context is broken."""
    if _broken:
        raise CUDARuntimeError(700)


def run_kernel() -> None:
    """What every kernel does first: break the context if that was asked for."""
    global _broken
    check()
    place = os.environ.get("FAKE_GPU_BREAK")
    if place and Path(place).exists():
        enough = Path(place).read_text()
        if not enough:
            Path(place).unlink()
        _broken = _used >= int(enough or 0)
    check()


def count_cards() -> int:
    """How many cards this process may see."""
    names = {str(number) for number in range(int(os.environ.get("FAKE_GPU_COUNT", 1)))}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return len(names if visible is None else names.intersection(visible.split(",")))
