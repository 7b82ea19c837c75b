"""What a request hears that is not done when the service stops: come again, another replica may do it.

The server waits some seconds for those under way, then cancels them.
"""

from __future__ import annotations

import asyncio
import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import RETRY_AFTER, NotReady, answer

_log = logging.getLogger("api.stopping")


class Interruptible:
    """`app` with an answer for a request that is cancelled: 503, or the end of what was being sent."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request; anything else passes by."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def note(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, note)
        except asyncio.CancelledError:
            _log.warning("a request was cut short: the service stops")
            if not begun:
                problem = NotReady("the service is being stopped", remedy="Send it again").problem
                gone = answer(problem, {"Retry-After": str(RETRY_AFTER), "Connection": "close"})
                await gone(scope, receive, send)
