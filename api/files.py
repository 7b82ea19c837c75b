"""An open file as the body of a response: what was opened is sent, whatever becomes of its name meanwhile."""

from __future__ import annotations

from fastapi.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from dmapsvc.store.storedfile import StoredFile


class FileAnswer(StreamingResponse):
    """The bytes from `begin` to before `end` of an open file, which it closes once they are sent."""

    def __init__(
        self,
        file: StoredFile,
        begin: int,
        end: int,
        *,
        media_type: str,
        status_code: int = 200,
        headers: dict[str, str] | None = None,
    ) -> None:
        headers = {**(headers or {}), "content-length": str(end - begin)}
        super().__init__(file.blocks(begin, end), status_code, headers, media_type)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await run_in_threadpool(self._file.close)
