"""A batch of very many tiny files, and what an upload and a caller notice of it while it waits and runs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from demo.service import Service
from tests.api.bodies import nifti

PATIENCE = 120.0  # seconds until something that must happen is taken for not happening
DATASET, URGENT = "backlog", "urgent"


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """What was measured: seconds, and bytes of resident memory of the API."""

    files: int
    submitted: float
    again: float
    started: list[float]
    listed: list[float]
    asked: list[float]
    memory: list[int]
    waiting: int

    def __str__(self) -> str:
        """The figures, a line each."""
        return "\n".join(
            (
                f"{self.files:,} files submitted in {self.submitted:.1f} s, again in {self.again:.1f} s",
                f"upload to start: {_spread(self.started)}, with {self.waiting:,} waiting behind it",
                f"GET /v1/jobs: {_spread(self.listed)}",
                f"GET /v1/batches/…: {_spread(self.asked)}",
                "API memory (MB) before, after, and under the backlog: "
                + ", ".join(f"{size / 1e6:.0f}" for size in self.memory),
            )
        )


def make_folder(folder: Path, files: int) -> Path:
    """A folder of so many masks of a few voxels, a hundred folders in it."""
    body = nifti(_labels(), compress=False)
    for number in range(files):
        file = folder / f"site{number % 100:02}" / f"knee{number:06}.nii"
        if number < 100:
            file.parent.mkdir(parents=True)
        file.write_bytes(body)
    return folder


def measure(service: Service, folder: Path, files: int, *, uploads: int, calls: int) -> Backlog:
    """Submit `folder` twice to a service without a worker, start one, then upload and ask under the backlog.

    The batch is cancelled at the end, and what was published of it deleted.
    """
    with httpx.Client(base_url=service.url, trust_env=False, timeout=600) as http:
        http.get("/v1/jobs")
        memory = [_memory(service)]
        submitted, batch = _timed(lambda: _submit(http, folder))
        memory.append(_memory(service))
        assert (batch["files"], batch["jobs"]["queued"]) == (files, files)
        again, second = _timed(lambda: _submit(http, folder))
        assert (second["under_way"], second["jobs"]["queued"]) == (files, 0)
        service.start("worker")
        address = f"/v1/batches/{batch['id']}"
        _until(lambda: _get(http, address)["jobs"]["done"] > 0)
        started = [_upload(http, number) for number in range(uploads)]
        listed = [_timed(lambda: _get(http, "/v1/jobs"))[0] for _ in range(calls)]
        asked = [_timed(lambda: _get(http, address))[0] for _ in range(calls)]
        memory.append(_memory(service))
        waiting = _get(http, address)["jobs"]["queued"]
        http.delete(address)
        _until(lambda: _get(http, address)["fraction"] == 1)
        assert _get(http, address)["jobs"]["failed"] == 0
        http.delete(f"/v1/datasets/{DATASET}").raise_for_status()
    return Backlog(
        files=files,
        submitted=submitted,
        again=again,
        started=started,
        listed=listed,
        asked=asked,
        memory=memory,
        waiting=waiting,
    )


def _submit(http: httpx.Client, folder: Path) -> dict[str, Any]:
    answer = http.post(f"/v1/datasets/{DATASET}/batches", json={"labels": str(folder)})
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def _upload(http: httpx.Client, number: int) -> float:
    """Seconds from an upload's acceptance until its job has begun, by the service's own times."""
    body = nifti(_labels(), compress=False)
    answer = http.put(f"/v1/datasets/{URGENT}/cases/u{number}/mask", content=body)
    assert answer.status_code == 202, answer.text
    job = http.get(answer.headers["location"], params={"wait": PATIENCE}).json()
    assert job["state"] == "done", job
    created, started = (datetime.fromisoformat(job[key]) for key in ("created", "started"))
    return (started - created).total_seconds()


def _labels() -> np.ndarray[Any, np.dtype[np.uint8]]:
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[1:3, 1:3, 1:3] = 1
    return labels


def _get(http: httpx.Client, address: str) -> dict[str, Any]:
    return dict(http.get(address).raise_for_status().json())


def _timed(call: Callable[[], dict[str, Any]]) -> tuple[float, dict[str, Any]]:
    start = time.perf_counter()
    answer = call()
    return time.perf_counter() - start, answer


def _until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.1)


def _memory(service: Service) -> int:
    process = psutil.Process(service.process("api").pid)
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))


def _spread(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds) * 1e3:.0f} ms, longest {max(seconds) * 1e3:.0f} ms"
