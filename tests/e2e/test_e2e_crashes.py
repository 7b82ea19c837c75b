"""The service while its processes are killed: accepted is done, and no reader sees half a case."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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

SPEC = MapSpec(labels=(1, 2, 3))
SHAPE = (96, 192, 192)
CASES = ("a", "b", "c", "d", "e", "f")
PATIENCE = 120.0  # seconds; a job takes about one

Volume = NDArray[np.uint8]


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
        with Client(service.url) as client, reading(service.url, masks) as faults:
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
        assert [job.state for job in ended] == [State.DONE] * len(CASES)
        assert sorted(set(faults)) == []
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


@contextmanager
def reading(url: str, masks: dict[str, Path]) -> Iterator[list[str]]:
    """Read every case over HTTP again and again; yields what was wrong with one that could be opened."""
    expected = {case: expected_phi(path) for case, path in masks.items()}
    faults: list[str] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            for case in CASES:
                fault = look(url, case, expected[case])
                if fault:
                    faults.append(f"{case}: {fault}")
            time.sleep(0.05)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield faults
    finally:
        stop.set()
        thread.join()


def look(url: str, case: str, expected: NDArray[np.float32]) -> str | None:
    """What is wrong with a case's Φ; None if it is right, not there, or the API is away."""
    try:
        if httpx.get(f"{url}/zarr/knees.zarr/{case}/zarr.json").status_code != 200:
            return None
        array = zarr.open_array(f"{url}/zarr/knees.zarr/{case}/phi/0", mode="r")
        stored = np.asarray(array[:])
    except (httpx.TransportError, OSError):  # the API was killed meanwhile
        return None
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    scale = array.attrs["scale_factor"]
    assert isinstance(scale, float)
    worst = float(np.abs(stored * scale - expected).max())
    return f"Φ is off by {worst}" if worst > 0.01 else None


def expected_phi(mask: Path) -> NDArray[np.float32]:
    import nibabel as nib

    labels = np.asarray(nib.load(mask).dataobj).transpose(2, 1, 0)  # type: ignore[attr-defined]
    return penalty_map(labels.astype(np.uint8), spec=SPEC, backend="scipy").values
