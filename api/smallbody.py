"""JSON bodies, which are read into memory whole: bounded before anything parses them.

Masks and images are not read here but by `api.spool`, whose bound is a setting.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message

from dmapsvc.errors import TooLarge

LIMIT = 10**6  # bytes; chosen: room for names of tens of thousands of labels


class SmallBody(APIRoute):
    """A route that answers 413 to a body of more than LIMIT bytes, as soon as that is known."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As FastAPI defines it."""
        handle = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            body = await _read(request)

            async def again() -> Message:
                return {"type": "http.request", "body": body, "more_body": False}

            return await handle(Request(request.scope, again))

        return bounded


async def _read(request: Request) -> bytes:
    """The body of `request`; raises TooLarge."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LIMIT:
            raise TooLarge(f"a body of more than {LIMIT} bytes", "a dataset takes a spec and names of labels")
    return bytes(body)
