"""What the service adds to a case of a usual size, and to the bytes of an upload."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.service_place import Place
from dmapsvc.client import Client
from dmapsvc.jobs import State
from dmapsvc.maps import penalty_map
from dmapsvc.pipeline import run_case
from dmapsvc.spec import MapSpec
from dmapsvc.store import Dataset
from dmapsvc.volumes import read_labels

BARE, PRECOMPUTE = "bare: read and map", "precompute: read, map, publish"
SERVICE = "service: upload until published"

_BLOCK = 2**20  # bytes written at once

Way = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Took:
    """Wall clock of a way's fastest run; CPU seconds of a run, of all processes, on average."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, kw_only=True)
class Upload:
    """10⁶ bytes a second until they are flushed to disk: uploaded, and copied by a program; the best."""

    sent: float
    written: float


def ways(place: Place, mask: Path, spec: MapSpec, folder: Path, repeat: int) -> dict[str, Took]:
    """One case by each way, in turn, `repeat` times; `folder` is on the service's file system."""
    with _ways(place, mask, spec, folder) as made:
        for way in made.values():
            way()  # compiled, cached and warm, as a service is
        runs: dict[str, list[Took]] = {name: [] for name in made}
        for _ in range(repeat):
            for name, way in made.items():
                runs[name].append(_measure(place, way))
    return {
        name: Took(
            seconds=min(run.seconds for run in took),
            cpu_seconds=sum(run.cpu_seconds for run in took) / repeat,
        )
        for name, took in runs.items()
    }


def upload(place: Place, folder: Path, megabytes: int, repeat: int) -> Upload:
    """A body that does not compress, uploaded and written, in turn; no worker may run."""
    body = folder / "body.npy"
    rng = np.random.default_rng(0)
    np.save(body, rng.integers(0, 256, (megabytes, 1000, 1000), np.uint8))
    sent, written = [], []
    with Client(place.url) as client:
        for number in range(repeat):
            start = time.perf_counter()
            client.put_mask("upload", f"case{number}", body)
            sent.append(time.perf_counter() - start)
            client.delete("upload")
            written.append(_write(body, folder / "written"))
    size = body.stat().st_size / 1e6
    body.unlink()
    return Upload(sent=size / min(sent), written=size / min(written))


@contextmanager
def _ways(place: Place, mask: Path, spec: MapSpec, folder: Path) -> Iterator[dict[str, Way]]:
    numbers = itertools.count()
    local = Dataset.create(folder / "local.zarr", spec)

    def bare() -> None:
        volume = read_labels(mask)
        penalty_map(volume.array, volume.header.spacing, spec)

    def precompute() -> None:
        run_case(mask, local, f"case{next(numbers)}")

    with Client(place.url) as client:
        client.create_dataset("ways", spec)

        def service() -> None:
            job = client.put_mask("ways", f"case{next(numbers)}", mask)
            ended = client.wait(job.id)
            if ended.state is not State.DONE:
                raise RuntimeError(f"the job ended {ended.state}: {ended.problem}")

        yield {BARE: bare, PRECOMPUTE: precompute, SERVICE: service}


def _measure(place: Place, way: Way) -> Took:
    before, cpu, start = sum(place.cpu_seconds().values()), time.process_time(), time.perf_counter()
    way()
    seconds, own = time.perf_counter() - start, time.process_time() - cpu
    return Took(seconds=seconds, cpu_seconds=own + sum(place.cpu_seconds().values()) - before)


def _write(source: Path, target: Path) -> float:
    """Seconds to copy a file, flushed; the reading is the same as an upload's."""
    start = time.perf_counter()
    with source.open("rb") as body, target.open("wb") as file:
        while block := body.read(_BLOCK):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    seconds = time.perf_counter() - start
    target.unlink()
    return seconds
