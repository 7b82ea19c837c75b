"""What tests say to a service and expect of its answers."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from demo.service import Service

_numbers = itertools.count()


class Talk:
    """A client of `service` that knows nothing of dmapsvc: plain HTTP."""

    def __init__(self, http: httpx.Client, service: Service) -> None:
        self.http = http
        self.service = service

    def dataset(self) -> str:
        """A name that no other test uses."""
        return f"d{next(_numbers)}"

    def put(self, address: str, body: bytes, **query: str) -> httpx.Response:
        """PUT a body to 'dataset/case/mask' or 'dataset/case/image'."""
        dataset, case, what = address.split("/")
        return self.http.put(f"/v1/datasets/{dataset}/cases/{case}/{what}", content=body, params=query)

    def done(self, answer: httpx.Response) -> dict[str, Any]:
        """The job of a PUT once it ended; it must have been accepted."""
        assert answer.status_code in (200, 202), answer.text
        job = self.http.get(answer.headers["location"], params={"wait": 30}).json()
        assert job["ended"] is not None, job
        return dict(job)

    def publish(self, address: str, body: bytes, **query: str) -> dict[str, Any]:
        """PUT a body whose job must end done."""
        job = self.done(self.put(address, body, **query))
        assert job["state"] == "done", job
        return job

    def spool(self) -> list[str]:
        """What lies in the service's spool."""
        return sorted(path.name for path in (self.service.data / "spool").iterdir())


def assert_problem(answer: httpx.Response, status: int, *words: str) -> dict[str, Any]:
    """The answer is a problem of one shape, with these words in it and nothing of the inside."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert set(problem) == {"type", "title", "status", "detail"}
    assert problem["status"] == status
    assert problem["detail"]
    assert problem["title"]
    for word in words:
        assert word in problem["detail"], problem
    for inside in ("Traceback", ".py", "/spool", "site-packages", ".part"):
        assert inside not in answer.text
    return problem


@contextmanager
def serving(app: FastAPI) -> Iterator[httpx.Client]:
    """A client of `app`, which a thread of this process serves on a socket."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()
