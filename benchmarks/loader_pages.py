"""The operating system's page cache: files are dropped from it, or read into it, before a loader starts."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

import numpy as np


def drop(folder: Path) -> float:
    """Drop every file below `folder` from the page cache; the part of their pages that is still there, 0 to
    1.
    """
    for file in _files(folder):
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # a page that is not on disk yet is not dropped
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    return resident(folder)


def warm(folder: Path) -> None:
    """Read every file below `folder` once."""
    for file in _files(folder):
        with file.open("rb", buffering=0) as opened:
            while opened.read(1 << 24):
                pass


def resident(folder: Path) -> float:
    """The part of the pages of all files below `folder` that lies in the page cache, 0 to 1, by mincore."""
    pages = [_pages(file) for file in _files(folder)]
    return sum(there for there, _ in pages) / max(1, sum(all_of for _, all_of in pages))


def _files(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.rglob("*")) if file.is_file() and file.stat().st_size]


def _pages(file: Path) -> tuple[int, int]:
    """Pages of `file` in the page cache, and all of its pages."""
    size = file.stat().st_size
    count = -(-size // mmap.PAGESIZE)
    found = (ctypes.c_ubyte * count)()
    mapped = np.memmap(file, np.uint8, mode="r")  # mapping reads nothing
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mincore(ctypes.c_void_p(mapped.ctypes.data), ctypes.c_size_t(size), found):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(file))
    return sum(page & 1 for page in found), count
