"""`python -m api`: the service on the address of the settings.

What cannot start says why in one line, with exit code 2.
"""

from __future__ import annotations

import argparse
import logging
import signal
import socket
import sys

import uvicorn

from api.access import check_bind
from api.app import create_app, prepare
from dmapsvc.errors import Conflict, DmapsvcError
from dmapsvc.jobs.database import open_database
from dmapsvc.settings import Settings, load_settings
from dmapsvc.superuser import warn_superuser
from dmapsvc.telemetry.logs import start_logging
from dmapsvc.telemetry.tracing import start_tracing, stop_tracing

_GRACE = 5  # seconds that requests have to finish once the service is told to stop


def main() -> int:
    """Run until told to stop; the exit code."""
    try:
        settings = _settings()
        check_bind(settings)
        prepare(settings)
        open_database(settings).dispose()  # says here, in one line, why it cannot be
        listener = _listen(settings.host, settings.port)
    except (DmapsvcError, OSError) as error:
        print(f"api: {error}", file=sys.stderr)
        return 2
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"dmapsvc listens on http://{shown}:{port} (docs at /docs), data in {settings.data}", flush=True)
    start_logging("api", settings.log)
    start_tracing("api")
    warn_superuser(logging.getLogger("api"))
    config = uvicorn.Config(
        create_app(settings),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
    )
    server = uvicorn.Server(config)
    # Once it has stopped, the server raises the signal again that stopped it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server.run(sockets=[listener])
    finally:
        stop_tracing()
    return 0 if server.started else 3


def _settings() -> Settings:
    parser = argparse.ArgumentParser(
        prog="python -m api",
        description="The HTTP service of dmapsvc. Settings are DMAPSVC_* in the environment.",
    )
    parser.add_argument("--host", help="address to listen on (DMAPSVC_HOST)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for a free one (DMAPSVC_PORT)")
    parser.add_argument("--data", help="folder of the service (DMAPSVC_DATA)")
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    return load_settings(**given)


def _listen(host: str, port: int) -> socket.socket:
    """A socket on `host`:`port`; raises DmapsvcError where none can be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise Conflict(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            remedy="Stop what uses it, or choose another with DMAPSVC_PORT",
        ) from None
    # asyncio does this for sockets of its own only; without it every small answer takes 40 ms more
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


if __name__ == "__main__":
    sys.exit(main())
