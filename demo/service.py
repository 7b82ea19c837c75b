"""The service on this machine for as long as a `with` block lasts: the two real processes over one data folder.

The demo and the benchmarks stand on it. To keep a service running, use `make serve`.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0
STOP_SECONDS = 20.0


@contextmanager
def local_service(data: Path) -> Iterator[str]:
    """Start API and worker over the folder `data`, yield the service's URL, stop both.

    What the processes say goes to `api.log` and `worker.log` in `data`. Raises RuntimeError if the API does not
    answer within a minute.
    """
    data.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    environment = {**os.environ, "DMAPSVC_DATA": str(data.resolve()), "DMAPSVC_PORT": str(port)}
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        api = stack.enter_context(_process("api", environment, data))
        _await_answer(f"{url}/readyz", api, data / "api.log")
        stack.enter_context(_process("worker", environment, data))
        yield url


@contextmanager
def _process(module: str, environment: dict[str, str], data: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (data / f"{module}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_answer(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        try:
            if httpx.get(url, timeout=1.0).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"the service did not start; its last words in {log}:\n{log.read_text()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
