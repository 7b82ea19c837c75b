"""The service while its processes are killed: accepted is done, and no reader sees half a case."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from demo import phantom
from demo.service import Service
from dmapsvc import MapSpec, penalty_map
from dmapsvc.client import Client
from dmapsvc.jobs import State
from dmapsvc.store import check
from dmapsvc.volumes import read_labels

SPEC = MapSpec(labels=(1, 2, 3))
SHAPE = (96, 192, 192)
CASES = ("a", "b", "c", "d", "e", "f")
PATIENCE = 120.0  # seconds; a job takes about one

Arrays = tuple[NDArray[Any], NDArray[np.float32]]  # label map and Φ


@dataclass
class Reads:
    """What a reader saw: how often each case whole and right, and what was wrong."""

    whole: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A mask file for each case."""
    folder = tmp_path_factory.mktemp("masks")
    paths = {}
    for seed, case in enumerate(CASES):
        paths[case] = folder / f"{case}.nii.gz"
        phantom.write(paths[case], *phantom.knee(seed, SHAPE))
    return paths


def test_kill_9_loses_nothing_and_shows_no_half_case(tmp_path: Path, masks: dict[str, Path]) -> None:
    with Service(tmp_path / "data", ("api",)) as service:
        with Client(service.url) as client, reading(service.url, masks) as reads:
            client.create_dataset("knees", SPEC)
            jobs = [client.put_mask("knees", case, path).id for case, path in masks.items()]
            service.kill9("api")  # its 202s are out
            service.start("api")
            service.start("worker")
            for _ in range(2):
                await_running(client, jobs)
                service.kill9("worker")
                service.start("worker")
            ended = [client.wait(job, timeout=PATIENCE) for job in jobs]
            await_reads(reads)
        assert [job.state for job in ended] == [State.DONE] * len(CASES)
        assert reads.faults == []
        store = service.data / "store" / "knees.zarr"
    assert list(check(store)) == []
    assert [path for path in (service.data / "spool").iterdir() if path.is_file()] == []


def await_running(client: Client, jobs: list[str]) -> None:
    """Return as soon as a job is seen to run."""
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        states = {client.job(job).state for job in jobs}
        if State.RUNNING in states:
            return
        assert State.QUEUED in states, "all jobs ended before one was seen to run"
        time.sleep(0.01)
    raise AssertionError(f"no job was seen to run: {states}")


def await_reads(reads: Reads) -> None:
    """Return once every case was read whole at least once."""
    give_up = time.monotonic() + PATIENCE
    while set(reads.whole) != set(CASES) and time.monotonic() < give_up:
        time.sleep(0.05)
    assert set(reads.whole) == set(CASES)


@contextmanager
def reading(url: str, masks: dict[str, Path]) -> Iterator[Reads]:
    """Read every case over HTTP again and again."""
    expected = {case: expected_arrays(path) for case, path in masks.items()}
    reads = Reads()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            for case in CASES:
                look(url, case, expected[case], reads)
            time.sleep(0.05)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield reads
    finally:
        stop.set()
        thread.join()


def look(url: str, case: str, expected: Arrays, reads: Reads) -> None:
    """Read a case, unless it is not there or the API is away, and note whether it was right."""
    folder = f"{url}/zarr/knees.zarr/{case}"
    try:
        there = httpx.get(f"{folder}/zarr.json", trust_env=False).status_code
        if there == httpx.codes.NOT_FOUND:
            return
        assert there == httpx.codes.OK, f"answered {there}"
        group = zarr.open_group(folder, mode="r")
        label, phi = (whole(group, name) for name in ("label/0", "phi/0"))
        np.testing.assert_array_equal(label, expected[0])
        np.testing.assert_allclose(phi, expected[1], rtol=0, atol=0.01)
    except (httpx.TransportError, OSError):  # the API was killed meanwhile
        return
    except Exception as error:
        reads.faults.append(f"{case}: {type(error).__name__}: {error}")
    else:
        reads.whole[case] += 1


def whole(group: zarr.Group, name: str) -> NDArray[np.float64]:
    """An array's values, as CF says they are meant."""
    array = group[name]
    assert isinstance(array, zarr.Array)
    scale, offset = (
        array.attrs.get(key, default) for key, default in (("scale_factor", 1), ("add_offset", 0))
    )
    assert isinstance(scale, int | float)
    assert isinstance(offset, int | float)
    return np.asarray(array[:]) * float(scale) + float(offset)


def expected_arrays(mask: Path) -> Arrays:
    """Label map and Φ of a mask."""
    labels = read_labels(mask).array
    return labels, penalty_map(labels, spec=SPEC, backend="scipy").values
