"""A service's side of a remote dataset: what it sends is counted, and can be spoilt."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from dmapsvc.store import Dataset


class OriginServer:
    """Serves every dataset in `folder`; a context manager.

    `asked` counts the requests by path, `sent` the bytes of files by key. `before` is called with the key of
    a file before it is looked at. `cut`: keys whose next answer ends after so many bytes. `spoilt`: keys of
    which the next so many answers have a wrong byte in the middle. `gone`: a proxy answers, and knows no
    service.
    """

    def __init__(self, folder: Path) -> None:
        self.asked: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.before: Callable[[str], object] = lambda key: None
        self.cut: dict[str, int] = {}
        self.spoilt: Counter[str] = Counter()
        self.gone = False
        self._folder = folder
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self.server = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def url(self, dataset: str) -> str:
        """The URL of a dataset."""
        return f"{self.server}/v1/datasets/{dataset}"

    def arrays_sent(self) -> dict[str, int]:
        """The bytes sent of each shard and chunk, by key."""
        return {key: count for key, count in self.sent.items() if "/c/" in key}

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.partition("?")[0]
        self.asked[path] += 1
        if self.gone:
            _send(request, 502, {"content-type": "text/html"}, b"<h1>Bad Gateway</h1>")
        elif path.startswith("/zarr/"):
            self._send_file(request, path.removeprefix("/zarr/"))
        else:
            self._send_listing(request, path)

    def _send_listing(self, request: BaseHTTPRequestHandler, path: str) -> None:
        name = path.split("/")[3]
        if not (self._folder / f"{name}.zarr").is_dir():
            body = {"type": "/problems/not-found", "title": "", "status": 404, "detail": f"no {name!r}"}
            status, kind = 404, "application/problem+json"
        else:
            cases = Dataset.open(self._folder / f"{name}.zarr").cases()
            body = {"cases": cases, "next": None} if path.endswith("/cases") else {"name": name}
            status, kind = 200, "application/json"
        _send(request, status, {"content-type": kind}, json.dumps(body).encode())

    def _send_file(self, request: BaseHTTPRequestHandler, key: str) -> None:
        key = key.partition(".zarr/")[2]
        self.before(key)
        path = self._folder / request.path.removeprefix("/zarr/")
        if not path.is_file():
            _send(request, 404, {}, b"")
            return
        facts, content = path.stat(), bytearray(path.read_bytes())
        tag = f'"{facts.st_ino:x}-{facts.st_mtime_ns:x}-{facts.st_size:x}"'
        if self.spoilt[key]:
            self.spoilt[key] -= 1
            content[len(content) // 2] ^= 1
        begin, status, headers = 0, 200, {"etag": tag}
        wanted = request.headers.get("range")
        if wanted is not None and request.headers.get("if-range", tag) == tag:
            begin, status = int(wanted.removeprefix("bytes=").removesuffix("-")), 206
            headers["content-range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        body = bytes(content[begin:])
        end = self.cut.pop(key, len(body))
        self.sent[key] += len(body[:end])
        _send(request, status, headers, body, end)


def _send(
    request: BaseHTTPRequestHandler,
    status: int,
    headers: dict[str, str],
    body: bytes,
    end: int | None = None,
) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.send_header("content-length", str(len(body)))
    request.end_headers()
    request.wfile.write(body[:end])
    if end is not None and end < len(body):
        request.close_connection = True
