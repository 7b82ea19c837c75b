"""An open file as the body of a response: what was opened is sent, whatever becomes of its name meanwhile."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import BinaryIO

from fastapi.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

BLOCK = 2**20  # bytes read at once


class FileAnswer(StreamingResponse):
    """The bytes from `begin` to before `end` of an open file, which it closes once they are sent."""

    def __init__(
        self,
        file: BinaryIO,
        begin: int,
        end: int,
        *,
        media_type: str,
        status_code: int = 200,
        headers: dict[str, str] | None = None,
    ) -> None:
        headers = {**(headers or {}), "content-length": str(end - begin)}
        super().__init__(_blocks(file, begin, end), status_code, headers, media_type)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        with self._file:
            await super().__call__(scope, receive, send)


async def _blocks(file: BinaryIO, begin: int, end: int) -> AsyncIterator[bytes]:
    while begin < end:
        block = await run_in_threadpool(os.pread, file.fileno(), min(BLOCK, end - begin), begin)
        if not block:
            raise OSError("a file got shorter while it was sent")
        begin += len(block)
        yield block
