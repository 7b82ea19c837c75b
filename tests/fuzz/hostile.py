"""Requests that are no HTTP, or not quite: what a socket may bring whoever holds its other end."""

from __future__ import annotations

import errno
import socket
from random import Random
from urllib.parse import urlsplit

from tests.fuzz.watching import PATIENCE

_PATHS = (
    "/v1/datasets", "/v1/datasets/d", "/v1/datasets/d/cases/c/mask", "/v1/jobs", f"/v1/jobs/{'0' * 64}",
    "/zarr/d.zarr/c/zarr.json",
    "/zarr/../../../etc/passwd", "/zarr/%2e%2e/%2e%2e/etc/passwd", "/zarr/any.zarr/%00",
    "/zarr/any.zarr/" + "a/" * 3000, "//[", "/%ff%fe", "/v1/datasets/%2F",
    "/v1/datasets/\u00e9", "http://[::1/x", "*", "", "/v1/jobs?limit=" + "9" * 5000, "/v1/jobs?cursor=%00",
    "/v1/jobs?cursor=é", "/v1/jobs?state=x&state=y",
    "/v1/datasets/any/cases?cursor=%ff", "/v1/datasets/any/cases?limit=-1", "/v1/jobs?" + "a=1&" * 2000,
    "/docs", "/openapi.json", "/metrics",
)  # fmt: skip
_HEARD_ENOUGH = (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN)  # the server hung up first
_METHODS = (
    "GET",
    "PUT",
    "POST",
    "DELETE",
    "HEAD",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "CONNECT",
    "X" * 100,
    "get",
    "",
)
_HEADERS = (
    "Host: [", "Host: a:b:c", "Host: é", "Host:", "Content-Length: 5", "Content-Length: -1",
    "Content-Length: 99999999999999999999", "Content-Length: 1, 2",
    "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Content-Encoding: gzip",
    "Expect: 100-continue", "Expect: x", "Range: bytes=0-",
    "Range: bytes=-" + "9" * 40, "Range: bytes=5-1,2-3", "If-None-Match: " + '"' * 500,
    "Content-Type: text/xml", "Content-Type: application/json; charset=utf-7",
    "Accept: \xff", "Connection: upgrade\r\nUpgrade: websocket", "X: " + "y" * 70_000, "bad header", ": x",
    "Authorization: Bearer \xff", "X-Request-ID: a\tb",
    "Origin: null", "Last-Event-ID: -1", "traceparent: 00-" + "f" * 50, "Forwarded: for=[",
    "X-Forwarded-For: " + "1," * 999,
)  # fmt: skip
_BODIES = (
    b"", b"x", b"{}", b"5\r\nhello\r\n0\r\n\r\n", b"FFFFFFFFFFFFFFFF\r\nx\r\n", b"-1\r\n", b"zz\r\n",
    b"[" * 90_000, b'{"spec": ' + b"9" * 6000 + b"}",
    b'{"names": {"1": "\\ud800"}}', b'{"spec": {"labels": [NaN, 1e999]}}',
    b'{"spec": {"labels": {"a": 1}, "units": []}}', b'{"names": {"\\u0000": ""}}',
    b'{"spec": {"labels": [true, 1.0, "2", null]}}', b'{"a": ' * 5000, b"\xff\xfe{\0}\0",
    b'{"spec": {"labels": [-1, 0, 4294967296]}}', b"null", b'"x"',
)  # fmt: skip


def request(random: Random) -> bytes:
    """The bytes of a request that is wrong in one way or several, or of none at all."""
    if random.random() < 0.1:
        return random.randbytes(random.randint(1, 3000))
    method, path, body = random.choice(_METHODS), random.choice(_PATHS), random.choice(_BODIES)
    headers = random.sample(_HEADERS, random.randint(0, 3))
    if random.random() < 0.6:
        headers.append("Host: localhost")
    if random.random() < 0.6:
        headers.append(f"Content-Length: {len(body)}")
    line = (
        f"{method} {path} {random.choice(('HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0', 'HTTP/9.9', ''))}"
    )
    head = "\r\n".join([line, *headers, "", ""]).encode("latin-1", "replace")
    whole = head + body
    return whole if random.random() < 0.8 else whole[: random.randrange(1, len(whole) + 1)]


def send(url: str, content: bytes) -> bytes:
    """Send bytes, say that no more come, and return what is answered; TimeoutError if that does not end."""
    parts = urlsplit(url)
    with socket.create_connection((str(parts.hostname), parts.port or 80), PATIENCE) as line:
        received = b""
        try:
            line.sendall(content)
            line.shutdown(socket.SHUT_WR)
            while block := line.recv(1 << 16):
                received += block
        except OSError as error:
            if error.errno not in _HEARD_ENOUGH:
                raise
    return received


def status_of(answer: bytes) -> int:
    """The status that an answer opens with; 0 for none."""
    words = answer[:20].split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
