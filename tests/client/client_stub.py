"""A small real HTTP server that answers what a test tells it to: also what the service itself never would."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass
class Answer:
    """What the server says; with `cut`, so many bytes fewer than it promised."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0

    @classmethod
    def json(cls, data: object, status: int = 200, kind: str = "application/json", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(json.dumps(data).encode(), status, {"content-type": kind, **named})

    @classmethod
    def problem(cls, status: int, detail: str, **headers: str) -> Answer:
        data = {"type": "/problems/conflict", "title": "T", "status": status, "detail": detail}
        return cls.json(data, status, "application/problem+json", **headers)


@dataclass
class Asked:
    """One request the server got."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes
    headers: dict[str, str]


class Stub:
    """The server: `answers` by method and path, each used once but the last; `asked` is what came."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], list[Answer]] = {}
        self.asked: list[Asked] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def on(self, method: str, path: str, *answers: Answer) -> None:
        self.answers[method, path] = list(answers)

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def _take(self, method: str, path: str) -> Answer:
        known = self.answers.get((method, path), [Answer.problem(404, f"{method} {path} is not here.")])
        return known.pop(0) if len(known) > 1 else known[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                url = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                query = {name: values[0] for name, values in parse_qs(url.query).items()}
                stub.asked.append(
                    Asked(
                        self.command, url.path, query, body, {k.lower(): v for k, v in self.headers.items()}
                    )
                )
                answer = stub._take(self.command, url.path)
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer.body) + answer.cut))
                self.end_headers()
                self.wfile.write(answer.body)

            do_GET = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


def job_json(**changes: object) -> dict[str, object]:
    """A job as the service writes it."""
    return {
        "id": "ab" * 32,
        "run": 1,
        "kind": "mask",
        "dataset": "knees",
        "case": "a",
        "state": "queued",
        "stage": None,
        "percent": 0.0,
        "position": 1,
        "created": "2026-11-23T05:00:00+00:00",
        "started": None,
        "ended": None,
        "problem": None,
        "notes": [],
        "seconds": {},
        "backend": None,
        "sha256": "cd" * 32,
        "revision": 1,
        "filename": "a.nii.gz",
        "attempts": 0,
        **changes,
    }


DONE = job_json(
    state="done",
    percent=100.0,
    position=None,
    started="2026-11-23T05:00:01+00:00",
    ended="2026-11-23T05:00:02.5+00:00",
    seconds={"read": 0.5, "map": 1.0},
    backend="numba",
    notes=["label 7 is absent"],
    attempts=1,
)
