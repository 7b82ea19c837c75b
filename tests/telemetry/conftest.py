"""One service that tells all it can: JSON lines, traces to a receiver, metrics of API and worker."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from demo.service import Service
from tests.api.talk import Talk
from tests.telemetry.receiver import Receiver, receiving


@dataclass(frozen=True, kw_only=True)
class Told:
    """The service, a client of it, where its worker answers /metrics, and what it traced."""

    talk: Talk
    worker_url: str
    traces: Receiver


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """A service of an API and a worker; stopping it is the last thing that happens."""
    port = _free_port()
    with receiving() as traces, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", traces.url)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")  # ms
        folder = tmp_path_factory.mktemp("told")
        with (
            Service(folder, log="json", metrics_port=port, device="numba", threads=1) as service,
            httpx.Client(base_url=service.url, trust_env=False, timeout=30) as http,
        ):
            yield Told(talk=Talk(http, service), worker_url=f"http://127.0.0.1:{port}/metrics", traces=traces)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
