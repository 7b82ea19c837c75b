"""Fixtures of the client's tests: a server that answers as told, and a port where none listens."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.client.client_stub import Stub


@pytest.fixture
def stub() -> Iterator[Stub]:
    """The server, gone at the end of the test."""
    server = Stub()
    yield server
    server.close()


@pytest.fixture
def free_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
