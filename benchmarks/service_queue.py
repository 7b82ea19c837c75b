"""What the queue costs: jobs a second on masks that take no time, the wait before a start, and idling."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median, quantiles

import numpy as np

from benchmarks.service_place import Place
from dmapsvc.client import Client
from dmapsvc.jobs import Job, State
from dmapsvc.volumes.writing import write_labels

SIDE = 16  # voxels; two cubes in it, so that a job is all overhead
_SENDERS = 4  # threads that upload side by side
_LOOK = 0.05  # seconds between looks at the queue
_PHASE = 0.0137  # seconds; no fraction of any pause of the service, so that uploads meet it at any moment
_SETTLE = 3.0  # seconds after the last job until a worker counts as idle


@dataclass(frozen=True, kw_only=True)
class Drain:
    """A queue of `jobs` that was filled with no worker there, and then emptied by `workers`.

    `rate` is jobs over the seconds from the first start to the last end; `accepted` is uploads a second.
    CPU milliseconds a job by part: of the uploads, and from the workers' being ready until the last end.
    """

    jobs: int
    workers: int
    rate: float
    accepted: float
    upload_cpu_ms: dict[str, float]
    drain_cpu_ms: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Starts:
    """Seconds from a job's acceptance to its start: the median, and the 90th percentile."""

    median: float
    slow: float


def write_tiny(folder: Path) -> Path:
    """A mask that takes no time."""
    labels = np.zeros((SIDE,) * 3, np.uint8)
    labels[2:6, 2:6, 2:6], labels[9:14, 9:14, 9:14] = 1, 2
    path = folder / "tiny.nii.gz"
    write_labels(path, labels, affine=np.eye(4))
    return path


def drain(place: Place, mask: Path, *, jobs: int, workers: int) -> Drain:
    """Fill the queue, then start `workers`, and wait until it is empty; they stay."""
    before, began = place.cpu_seconds(), time.perf_counter()
    with Client(place.url) as client, ThreadPoolExecutor(_SENDERS) as senders:
        send = partial(_send, client, "drain", mask)
        ids = list(senders.map(send, range(jobs)))
        accepted = jobs / (time.perf_counter() - began)
        filled = place.cpu_seconds()
        place.start_workers(workers)
        ready = place.cpu_seconds()
        client.wait(ids[-1])
        while _any(client, State.QUEUED) or _any(client, State.RUNNING):
            time.sleep(_LOOK)
        drained = place.cpu_seconds()
        ended = [_done(job) for job in client.jobs(dataset="drain")]
    first, last = min(start for start, _ in ended), max(end for _, end in ended)
    return Drain(
        jobs=jobs,
        workers=workers,
        rate=jobs / (last - first).total_seconds(),
        accepted=accepted,
        upload_cpu_ms=_per_job(before, filled, jobs),
        drain_cpu_ms=_per_job(ready, drained, jobs),
    )


def starts(place: Place, mask: Path, *, jobs: int) -> Starts:
    """How soon a job starts, one at a time with all workers idle."""
    waits = []
    with Client(place.url) as client:
        for number in range(jobs):
            time.sleep(_PHASE * (number % 16))
            ended = client.wait(_send(client, "starts", mask, number))
            start, created = _done(ended)[0], ended.created
            assert created is not None
            waits.append((start - created).total_seconds())
    return Starts(median=median(waits), slow=quantiles(waits, n=10)[-1])


def idle(place: Place, seconds: float) -> dict[str, float]:
    """The part of a core that each part takes while there is nothing to do."""
    time.sleep(_SETTLE)
    before = place.cpu_seconds()
    time.sleep(seconds)
    return {part: took / seconds for part, took in _spent(before, place.cpu_seconds()).items()}


def _send(client: Client, dataset: str, mask: Path, number: int) -> str:
    return client.put_mask(dataset, f"case{number:05}", mask).id


def _any(client: Client, state: State) -> bool:
    return next(client.jobs(state=state), None) is not None


def _done(job: Job) -> tuple[datetime, datetime]:
    """When a job that is done started and ended; raises RuntimeError for another."""
    if job.state is not State.DONE:
        raise RuntimeError(f"a job ended {job.state}: {job.problem}")
    assert job.started is not None
    assert job.ended is not None
    return job.started, job.ended


def _spent(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {part: seconds - before.get(part, 0.0) for part, seconds in after.items()}


def _per_job(before: dict[str, float], after: dict[str, float], jobs: int) -> dict[str, float]:
    return {part: 1000 * seconds / jobs for part, seconds in _spent(before, after).items()}
