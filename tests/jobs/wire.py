"""A line to Postgres that a test can cut: the connections stay open, but nothing comes through any more."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from types import TracebackType

import sqlalchemy as sa


class Wire:
    """Forwards TCP connections on a port of its own to the Unix socket of the server at `server`."""

    def __init__(self, server: sa.URL) -> None:
        folder = server.query["host"]
        self._target = f"{folder}/.s.PGSQL.{server.port or 5432}"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._whole = threading.Event()
        self._whole.set()
        self._closed = False

    def __enter__(self) -> Wire:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        self._whole.set()
        self._listener.close()

    def through(self, url: str) -> str:
        """`url` by way of this wire."""
        port = self._listener.getsockname()[1]
        asked = sa.make_url(url).set(host="127.0.0.1", port=port).difference_update_query(["host"])
        return asked.render_as_string(hide_password=False)

    def cut(self) -> None:
        """Let nothing through, either way, and say so to nobody."""
        self._whole.clear()

    def mend(self) -> None:
        """Let through what comes, and what came meanwhile."""
        self._whole.set()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # it was closed
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._forward, args=(near,), daemon=True).start()

    def _forward(self, near: socket.socket) -> None:
        self._whole.wait()
        with near, socket.socket(socket.AF_UNIX) as far, selectors.DefaultSelector() as ready:
            far.connect(self._target)
            for one, other in ((near, far), (far, near)):
                ready.register(one, selectors.EVENT_READ, other)
            with contextlib.suppress(OSError):
                while not self._closed:
                    for key, _ in ready.select(0.1):
                        self._whole.wait()
                        if not (data := key.fileobj.recv(2**16)):  # type: ignore[union-attr]
                            return
                        key.data.sendall(data)
