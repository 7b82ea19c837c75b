"""The audit lines of requests: one for each that reached a call which changes something.

What was refused before (no key, a wrong address) changed nothing; the log tells of it.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dmapsvc.audit import AuditLog
from dmapsvc.errors import printable
from dmapsvc.telemetry.context import request_id

_NAMES = ("dataset", "case", "job", "batch")  # parts of an address that a line takes over
_LONGEST = 128  # characters of a part of an address; what is longer is no name
_CHANGING = ("PUT", "POST", "PATCH", "DELETE")


class Audited:
    """Notes in `log` what requests to `app` changed, before they are answered."""

    def __init__(self, app: ASGIApp, *, log: AuditLog) -> None:
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let it through, and note it."""
        if scope["type"] != "http" or scope["method"] not in _CHANGING:
            await self._app(scope, receive, send)
            return

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._note(scope, message["status"], dict(message["headers"]).get(b"location"))
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception:  # answered further out
            self._note(scope, 500, None)
            raise

    def _note(self, scope: Scope, status: int, location: bytes | None) -> None:
        route = scope.get("route")
        if not isinstance(route, Route) or scope["method"] not in (route.methods or ()):
            return
        client = scope.get("client")
        named = {
            name: printable(str(value), _LONGEST)
            for name, value in scope["path_params"].items()
            if name in _NAMES
        }
        self._log.note(
            key=scope.get("state", {}).get("key"),
            client=printable(client[0]) if client else None,
            action=route.name,
            **named,
            made=location.decode("latin-1") if location else None,
            replace=True if _replaces(scope) else None,
            request=request_id(),
            status=status,
        )


def _replaces(scope: Scope) -> bool:
    said = parse_qs(scope["query_string"].decode("latin-1")).get("replace", [""])[-1]
    return said.lower() in ("true", "1", "on", "yes", "t", "y")
