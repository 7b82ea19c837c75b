"""How much at once: requests under way, and bodies that stop coming. Sizes are checked elsewhere."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import refusal
from dmapsvc.errors import Busy, DmapsvcError

EXEMPT = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths that answer however busy the service is: they say so."""

_WITH_BODY = ("PUT", "POST")


class TooManyRequests(Busy):
    """The service has as many requests as it takes at once."""


class BodyStopped(DmapsvcError):
    """The request's body stopped coming."""

    status = 408


class Limits:
    """Answers 503 beyond `requests` at once, and 408 where a body pauses for more than `idle` seconds."""

    def __init__(self, app: ASGIApp, *, requests: int, idle: float) -> None:
        self._app = app
        self._most = requests
        self._idle = idle
        self._now = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let it through, or refuse it."""
        if scope["type"] != "http" or scope["path"] in EXEMPT:
            await self._app(scope, receive, send)
            return
        if self._now >= self._most:
            error = TooManyRequests(f"{self._most} requests are under way", remedy="Try again later")
            await refusal(error, {"Connection": "close"})(scope, receive, send)
            return
        self._now += 1
        try:
            with_body = scope["method"] in _WITH_BODY
            await self._app(scope, self._impatient(receive) if with_body else receive, send)
        finally:
            self._now -= 1

    def _impatient(self, receive: Receive) -> Receive:
        """`receive`, which raises BodyStopped where the body pauses too long."""
        whole = False

        async def receive_soon() -> Message:
            nonlocal whole
            if whole:  # now it is the end of the connection that is waited for
                return await receive()
            try:
                async with asyncio.timeout(self._idle):
                    message = await receive()
            except TimeoutError:
                raise BodyStopped(
                    f"nothing of the body came for {self._idle:g} s", remedy="Send it again"
                ) from None
            whole = not message.get("more_body", False)
            return message

        return receive_soon
