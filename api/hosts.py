"""The names a service answers to: a page that makes its own name point here gets nothing.

Starlette's TrustedHostMiddleware does this too, but its refusal is no problem of RFC 9457.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.problems import refusal
from dmapsvc.errors import DmapsvcError, printable

_HOST = re.compile(r"(?P<name>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]*)?")

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""The names of a service that listens on this machine alone."""


class WrongHost(DmapsvcError):
    """The service does not answer to this name."""

    status = 400
    permanent = True


class Hosts:
    """Answers 400 to requests whose `Host` is none of `names`; `*.example.org` stands for what ends so.

    The paths in `exempt` are for those who ask by address: a balancer, a container's health check.
    """

    def __init__(self, app: ASGIApp, *, names: Collection[str], exempt: Collection[str]) -> None:
        self._app = app
        self._names = [name.lower() for name in names]
        self._exempt = frozenset(exempt)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let it through, or refuse it."""
        if scope["type"] == "http" and scope["path"] not in self._exempt:
            said = Headers(scope=scope).get("host", "")
            if not any(_fits(_name(said), name) for name in self._names):
                error = WrongHost(
                    f"host {printable(said)!r}",
                    "the service does not answer to that name",
                    "Use its own, or add this one to DMAPSVC_HOSTS",
                )
                await refusal(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _name(host: str) -> str:
    """The name in a `Host` header, without its port; empty for what is none."""
    found = _HOST.fullmatch(host)
    return found["name"].strip("[]").lower() if found else ""


def _fits(host: str, name: str) -> bool:
    return host == name or (name.startswith("*.") and host.endswith(name[1:]))
