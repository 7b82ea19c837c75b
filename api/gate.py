"""What stands before the calls, in this order: CORS, the service's names, keys, limits, and the audit."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from api import access, hosts
from api.access import Guard
from api.audited import Audited
from api.hosts import Hosts
from api.limits import Limits
from dmapsvc.audit import AuditLog
from dmapsvc.keys import KeyFile
from dmapsvc.settings import Settings

_METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE")
_ASKED = ("authorization", "range", "if-range", "if-none-match", "x-request-id")
_BY_ADDRESS = (
    "/healthz",
    "/readyz",
)  # so probes ask, and a page that comes by a name of its own learns little
_TOLD = ("location", "etag", "content-range", "retry-after", "www-authenticate", "x-request-id")


def install(app: FastAPI, settings: Settings) -> None:
    """Put the gate before `app`."""
    # each goes outside of those before it
    app.add_middleware(Audited, log=AuditLog(settings.audit_file))
    app.add_middleware(Limits, requests=settings.max_requests, idle=settings.idle_seconds)
    app.add_middleware(Guard, key_file=KeyFile(settings.keys_file))
    names = host_names(settings)
    if names:
        app.add_middleware(Hosts, names=names, exempt=_BY_ADDRESS)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins.split(","),
            allow_methods=_METHODS,
            allow_headers=_ASKED,
            expose_headers=_TOLD,
        )


def host_names(settings: Settings) -> tuple[str, ...]:
    """The names the service answers to; none for any.

    On this machine alone they are its own: otherwise a web page whose name is made to point at 127.0.0.1
    could have a browser here read and delete.
    """
    if settings.hosts is not None:
        return () if settings.hosts.strip() == "*" else tuple(settings.hosts.split(","))
    return (settings.host, *hosts.LOOPBACK) if access.listens_on_loopback(settings.host) else ()
