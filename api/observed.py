"""What is around every request: its id, its line in the log, its span, its place in the metrics.

Outermost of all, so that nothing is answered without: what the framework refuses and what a bug makes of a
request has an id as well.
"""

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager, nullcontext

from h11 import LocalProtocolError
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import Metrics
from dmapsvc.errors import printable
from dmapsvc.telemetry.context import about, sane_id
from dmapsvc.telemetry.tracing import annotate, span

HEADER = "X-Request-ID"

_HUNG_UP = 499

_QUIET = ("/healthz", "/readyz", "/metrics")  # asked every few seconds, by machines
_REFUSED = (401, 403)
_METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH")

_log = logging.getLogger("api.access")


class Observed:
    """`app` with every request counted in `metrics`, traced, and logged once it is answered."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request; anything else passes by."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        seen = _Seen(scope, receive, send, sane_id(headers.get(HEADER)))
        with about(request=seen.id), self._metrics.in_flight.track_inprogress(), _traced(seen, headers):
            try:
                await self._app(scope, seen.receive, seen.send)
            except Exception:  # what had not begun was answered, and logged, by `api.problems`
                if seen.status != 500:
                    _log.exception("an answer broke off: %s %s", seen.method, seen.path)
            finally:
                self._tell(seen)

    def _tell(self, seen: _Seen) -> None:
        seconds = time.perf_counter() - seen.began
        self._metrics.count(
            seen.method, seen.route, seen.status, seconds=seconds, received=seen.received, sent=seen.sent
        )
        annotate(f"{seen.method} {seen.route}", **{"http.response.status_code": seen.status})
        _log.log(
            logging.DEBUG if seen.path in _QUIET else logging.INFO,
            "%s %s %d in %.0f ms%s",
            seen.method,
            seen.path,
            seen.status,
            1000 * seconds,
            seen.whose if seen.status in _REFUSED else "",
            extra={
                "client": seen.client,
                "key": seen.key,
                "method": seen.method,
                "route": seen.route,
                "status": seen.status,
                "seconds": round(seconds, 4),
                "received": seen.received,
                "sent": seen.sent,
            },
        )


def _traced(seen: _Seen, headers: Headers) -> AbstractContextManager[None]:
    if seen.path in _QUIET:
        return nullcontext()
    parent = headers.get("traceparent")
    return span(seen.method, parent=parent, kind="server", attributes={"dmapsvc.request": seen.id})


class _Seen:
    """A request and its answer as they pass: `received` and `sent` count the bytes of their bodies.

    `status` is 499, as nginx has it, while nothing is answered: the sender hung up, or speaks no HTTP.
    `path` has no query, which may name a file.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        self.id = request_id
        self.method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        self.path = printable(scope["path"])
        self.began = time.perf_counter()
        self.status = _HUNG_UP
        self.received = 0
        self.sent = 0
        self._gone = False
        self._scope = scope
        self._receive = receive
        self._send = send

    @property
    def route(self) -> str:
        """The address's pattern in the API, of which there are few; `other` if it has none."""
        return getattr(self._scope.get("route"), "path", "other")

    @property
    def client(self) -> str | None:
        """The address it came from."""
        client = self._scope.get("client")
        return printable(client[0]) if client else None

    @property
    def key(self) -> str | None:
        """The name of the key it showed, if that is a good one."""
        name: str | None = self._scope.get("state", {}).get("key")
        return name

    @property
    def whose(self) -> str:
        """Both, as the end of a sentence."""
        return f", from {self.client or 'nowhere'} with " + (f"key {self.key}" if self.key else "no good key")

    async def receive(self) -> Message:
        """The next of the request."""
        message = await self._receive()
        self.received += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        """Pass on the next of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)[HEADER] = self.id
        self.sent += len(message.get("body", b""))
        if not self._gone:
            try:
                await self._send(message)
            except (
                LocalProtocolError
            ):  # what followed the request was no HTTP, and was answered by the server
                self._gone, self.status = True, _HUNG_UP
