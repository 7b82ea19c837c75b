"""Who may: every request that needs a key shows one, and the key covers what the request does.

The keys themselves are `dmapsvc.keys`'s. Without a keys file everybody may do everything, which is why such a
service listens on this machine alone unless it is told otherwise (`check_bind`).
"""

from __future__ import annotations

import ipaddress
import logging
import socket

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.problems import NotReady, refusal
from dmapsvc import keys
from dmapsvc.errors import BadInput, Damaged, DmapsvcError
from dmapsvc.keys import KeyFile
from dmapsvc.settings import Settings

OPEN = frozenset({"/healthz", "/readyz", "/docs", "/docs/oauth2-redirect", "/openapi.json"})
"""Paths that ask for no key: what a balancer looks at, and what stands in the source anyway."""

_CANCELLED = ("/v1/jobs/", "/v1/batches/")  # below which DELETE cancels, and removes nothing published
_log = logging.getLogger("api")


class KeyWanted(DmapsvcError):
    """This service asks for a key."""

    status = 401
    permanent = True


class KeyTooWeak(DmapsvcError):
    """The key does not cover this."""

    status = 403
    permanent = True


def scope_for(method: str, path: str) -> keys.Scope | None:
    """What a key must cover for this request; None if it needs no key."""
    if path in OPEN:
        return None
    if method in ("GET", "HEAD"):
        return keys.Scope.READ
    if method == "DELETE" and not path.startswith(_CANCELLED):
        return keys.Scope.ADMIN
    return keys.Scope.WRITE


def check_bind(settings: Settings) -> None:
    """Raise BadInput if strangers would reach a service without keys, or its keys are not where they belong.

    Names that are not this machine's own tell of a proxy, behind which every request comes from here.
    """
    if settings.allow_anonymous or KeyFile(settings.keys_file).keys() is not None:
        return
    names = [name for name in (settings.hosts or "").split(",") if name and not _is_loopback_name(name)]
    if settings.keys is not None:
        found = f"DMAPSVC_KEYS={settings.keys}: there is no such file"
    elif not listens_on_loopback(settings.host):
        found = f"DMAPSVC_HOST={settings.host} is reached from other machines, and there are no keys"
    elif names:
        found = f"DMAPSVC_HOSTS names {names[0]}, which others reach, and there are no keys"
    else:
        return
    raise BadInput(
        found,
        "wanted keys, or an address and names of this machine alone",
        "Make one with `dmapsvc keys new NAME --scope admin`, or set DMAPSVC_ALLOW_ANONYMOUS=true where"
        " something else keeps strangers out",
    )


def _is_loopback_name(name: str) -> bool:
    """Whether `name` is this machine's wherever it is said; what it resolves to here does not count."""
    try:
        return name.lower() == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def listens_on_loopback(host: str) -> bool:
    """Whether what listens on `host` is reached from this machine alone."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)


class Guard:
    """Lets requests through to `app` that may pass; the name of a good key is in `scope["state"]["key"]`.

    A service that has seen a keys file never falls back to letting everybody in, even if the file goes away.
    """

    def __init__(self, app: ASGIApp, *, key_file: KeyFile) -> None:
        self._app = app
        self._file = key_file
        self._needed = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let it through, or answer 401, 403 or, where the keys cannot be read, 503."""
        if scope["type"] == "http":
            try:
                self._check(scope)
            except DmapsvcError as error:
                await refusal(error, _challenge(error))(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        wanted = scope_for(scope["method"], scope["path"])
        if wanted is None or not self._are_keys_needed():
            return
        kind, _, text = Headers(scope=scope).get("authorization", "").partition(" ")
        key = self._file.find(text.strip()) if kind.lower() == "bearer" else None
        if key is None:
            raise KeyWanted(
                "no key came with the request" if not text else "the key is not known here, or has expired",
                "wanted the header Authorization: Bearer KEY",
                "Set DMAPSVC_KEY, where dmapsvc's commands look for it; who runs the service makes keys",
            )
        scope.setdefault("state", {})["key"] = key.name
        if not key.scope.covers(wanted):
            raise KeyTooWeak(
                f"key {key.name!r} is for {key.scope}", f"this call wants {wanted}", "Use another key"
            )

    def _are_keys_needed(self) -> bool:
        try:
            self._needed = self._file.keys() is not None or self._needed
        except Damaged as error:
            _log.error("%s", error.detail)
            raise NotReady(
                "the service cannot read its keys, so it lets nobody in", remedy="See the service's log"
            ) from None
        return self._needed


def _challenge(error: DmapsvcError) -> dict[str, str]:
    """What RFC 6750 wants said beside the problem."""
    if isinstance(error, KeyWanted):
        return {"WWW-Authenticate": 'Bearer realm="dmapsvc"'}
    if isinstance(error, KeyTooWeak):
        return {"WWW-Authenticate": 'Bearer realm="dmapsvc", error="insufficient_scope"'}
    return {}
