"""A bucket served by moto on a real socket, and a process that dies in the middle of its requests."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import obstore
import pytest
from moto.server import ThreadedMotoServer

from dmapsvc.store import lease

PATIENCE = 0.2  # seconds until a lease without a sign of life is a dead process's


@contextmanager
def moto() -> Iterator[str]:
    """A server of S3 that holds nothing yet; its URL. What moto keeps is the process's, not the server's."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    httpx.post(f"{url}/moto-api/reset", trust_env=False)
    try:
        yield url
    finally:
        server.stop()


def use(monkeypatch: pytest.MonkeyPatch, endpoint: str, bucket: str) -> None:
    """Make a bucket, and point the environment at it."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "lab",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(lease, "DEAD_AFTER", PATIENCE)
    httpx.put(f"{endpoint}/{bucket}", trust_env=False)  # what makes a bucket


class DiedError(BaseException):
    """The process is dead."""


@contextmanager
def dying(monkeypatch: pytest.MonkeyPatch, step: int) -> Iterator[list[int]]:
    """For the block, what is written or removed counts, and the `step`-th does not happen, nor anything that
    would come after it: as if the process were killed there. The list has the steps that were left.
    """
    left = [step]
    with monkeypatch.context() as patch:
        for name in ("put", "delete"):
            real = getattr(obstore, name)

            def change(*args: Any, real: Any = real, **how: Any) -> Any:
                left[0] -= 1
                if left[0] <= 0:
                    raise DiedError
                return real(*args, **how)

            patch.setattr(obstore, name, change)
        yield left


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch, key: str) -> Iterator[list[str]]:
    """For the block, the list gets `key` each time that object is written."""
    written: list[str] = []
    real = obstore.put

    def put(store: Any, path: str, *args: Any, **how: Any) -> Any:
        written.extend([path] if path == key else [])
        return real(store, path, *args, **how)

    with monkeypatch.context() as patch:
        patch.setattr(obstore, "put", put)
        yield written
