"""A request's body on disk: streamed, hashed on the way, bounded, and gone again unless it was settled.

Knows nothing of masks or jobs; the bytes never lie in memory whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from dmapsvc.errors import BadInput, TooLarge
from dmapsvc.keeping.files import PART

BLOCK = 2**20  # bytes hashed and written at once: few enough to be light, enough to make threads worth it


class Upload:
    """A body: `path` on disk and, once it is whole, `sha256`, 64 hexadecimal digits."""

    def __init__(self, part: Path) -> None:
        self.path = part
        self.sha256 = ""
        self._part = part

    @property
    def name(self) -> str:
        """The name in the spool by which a job finds the file, once it is settled."""
        return self.path.with_suffix("").name

    def settle(self) -> None:
        """Give the file its name. From now on it may be a job's, so that only `drop` removes it."""
        self.path = self._part.rename(self._part.with_suffix(""))
        _sync_folder(self.path.parent)

    def drop(self) -> None:
        """Remove the file, which is no job's."""
        self.path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the file unless it was settled; safe while another thread settles it."""
        self._part.unlink(missing_ok=True)


@asynccontextmanager
async def receive(request: Request, folder: Path, limit: int) -> AsyncIterator[Upload]:
    """The body of `request` as a file in `folder`, safe on disk; removed when the block ends unless settled.

    Raises TooLarge for a body of more than `limit` bytes, as soon as that is known; BadInput for a body that
    its sender compressed.
    """
    _check_headers(request, limit)
    part, file = _open_part(folder)
    upload = Upload(part)
    with file:  # open, and so locked, until the file has its name or is gone
        try:
            upload.sha256 = await _copy(request, file, limit)
            await run_in_threadpool(os.fsync, file.fileno())
            yield upload
        finally:
            upload.discard()


def _open_part(folder: Path) -> tuple[Path, BinaryIO]:
    """A new file and its path; its lock tells `broken_off` that this process lives."""
    while True:
        part = folder / f"{uuid.uuid4().hex}{PART}"
        file = part.open("xb")
        fcntl.flock(file, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):  # swept before it was locked
            if os.path.samestat(os.fstat(file.fileno()), part.stat()):
                return part, file
        file.close()


async def _copy(request: Request, file: BinaryIO, limit: int) -> str:
    digest = hashlib.sha256()

    def put(block: bytearray) -> None:
        digest.update(block)
        file.write(block)

    size, block = 0, bytearray()
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(f"more than {limit}", limit)
        block += chunk
        if len(block) >= BLOCK:
            await run_in_threadpool(put, block)
            block = bytearray()
    await run_in_threadpool(put, block)
    await run_in_threadpool(file.flush)
    return digest.hexdigest()


def _check_headers(request: Request, limit: int) -> None:
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise _too_large(length, limit)
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise BadInput(
            "a body with a Content-Encoding", "wanted the file as it is", "Send it without the header"
        )


def _too_large(size: str, limit: int) -> TooLarge:
    return TooLarge(
        f"a body of {size} bytes",
        f"this service takes at most {limit}",
        "Compress the file, or raise DMAPSVC_MAX_BODY",
    )


def _sync_folder(folder: Path) -> None:
    """Make a new name in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
