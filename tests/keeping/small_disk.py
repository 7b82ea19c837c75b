"""A service on a disk that is really full: `python -m tests.keeping.small_disk FOLDER SCENARIO`,
where FOLDER is a small file system of its own. `test_keeping_disk.py` mounts it and runs this.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from demo.service import Service
from dmapsvc.store import check
from tests.jobs.processes import eventually

_BLOCK = 4096


class Disk:
    """A file system that can be filled: all but some bytes of it."""

    def __init__(self, folder: Path) -> None:
        self._filler = folder / "filler"

    def fill(self, *, leave: int = 0) -> None:
        """Fill it up, then give `leave` bytes back."""
        with self._filler.open("ab", buffering=0) as file:
            for block in (bytes(1 << 20), bytes(_BLOCK)):
                with contextlib.suppress(OSError):
                    while file.write(block):
                        pass
            file.truncate(file.tell() // _BLOCK * _BLOCK - leave)

    def clear(self) -> None:
        """Give everything back."""
        self._filler.unlink()


class Client:
    """What the scenarios say to the service."""

    def __init__(self, service: Service, http: httpx.Client) -> None:
        self.service, self.http = service, http

    def put(self, case: str, body: bytes) -> httpx.Response:
        """Upload the mask of a case of dataset `knees`."""
        return self.http.put(f"/v1/datasets/knees/cases/{case}/mask", content=body)

    def ended(self, answer: httpx.Response) -> dict[str, Any]:
        """The job of an upload that must have been accepted, once it ended."""
        assert answer.status_code == 202, answer.text
        job = self.http.get(answer.headers["location"], params={"wait": 60}).json()
        assert job["ended"] is not None, job
        return dict(job)


def everything_on_it(client: Client, disk: Disk) -> None:
    """Spool, staging, store and database lie on the disk."""
    an_upload_that_does_not_fit(client, disk)
    room_again(client, disk, a_map_that_does_not_fit(client, disk))


def an_upload_that_does_not_fit(client: Client, disk: Disk) -> None:
    """It is 507, leaves nothing, and the service still answers."""
    disk.fill()
    for case, body in (("large", mask(128)), ("small", packed(16))):
        answer = client.put(case, body)
        assert_full(answer.status_code, answer.json())
    assert client.http.get("/healthz").status_code == 200
    assert client.http.get("/v1/jobs").json()["jobs"] == []
    eventually(lambda: client.http.get("/readyz").status_code == 503)  # looked at every two seconds
    assert not list((client.service.data / "spool").iterdir())
    assert not store_of(client).exists()


def a_map_that_does_not_fit(client: Client, disk: Disk) -> str:
    """Its job fails and can be run again; nothing of it is published or left. The job's id."""
    disk.clear()
    client.http.put("/v1/datasets/knees", json={"spec": {"labels": [3], "units": "voxel"}}).raise_for_status()
    client.ended(client.put("first", packed(16)))  # whatever the worker keeps from its first job on
    disk.fill(leave=400_000)
    job = client.ended(client.put("large", packed(128)))
    assert job["state"] == "failed", job
    assert_full(job["problem"]["status"], job["problem"])
    assert [path.name for path in store_of(client).iterdir() if path.is_dir()] == ["first"]
    assert not list((client.service.data / "staging" / "knees" / "work").iterdir())
    return str(job["id"])


def room_again(client: Client, disk: Disk, job: str) -> None:
    """The service goes on: the failed job runs again, and others do."""
    disk.clear()
    client.http.post(f"/v1/jobs/{job}/retry").raise_for_status()
    again = client.http.get(f"/v1/jobs/{job}", params={"wait": 60}).json()
    assert again["state"] == "done", again
    assert client.ended(client.put("small", packed(16)))["state"] == "done"
    eventually(lambda: client.http.get("/readyz").status_code == 200)
    assert not list(check(store_of(client)))
    assert not [path for path in (client.service.data / "spool").iterdir() if not path.suffix]


def the_database_alone_on_it(client: Client, disk: Disk) -> None:
    """Uploads find room and their records do not: refused or accepted, none is lost, and nothing is left."""
    small = packed(16)
    client.ended(client.put("first", small))
    disk.fill()
    accepted = []
    for number in range(1000):
        answer = client.put(f"case{number}", small)
        if answer.status_code != 202:
            break
        accepted.append(answer)
    assert_full(answer.status_code, answer.json())
    disk.clear()
    accepted.append(client.put("last", small))
    assert {client.ended(each)["state"] for each in accepted} == {"done"}
    assert not list(check(store_of(client)))
    assert not [path for path in (client.service.data / "spool").iterdir() if not path.suffix]


def store_of(client: Client) -> Path:
    """The dataset that is written to."""
    return client.service.data / "store" / "knees.zarr"


def assert_full(status: int, problem: dict[str, Any]) -> None:
    """It is the problem of a full disk, with what to do and nothing of the inside."""
    assert status == 507, problem
    assert problem["type"] == "/problems/disk-full", problem
    assert "Make room" in problem["detail"]
    assert "/" not in problem["detail"]


def mask(side: int) -> bytes:
    """A ball in a cube, as a NumPy file of side³ bytes."""
    axes = np.mgrid[:side, :side, :side]
    inside = sum((axis - side / 2) ** 2 for axis in axes) < (side / 3) ** 2
    file = io.BytesIO()
    np.save(file, inside.astype(np.uint8) * np.uint8(3))
    return file.getvalue()


def packed(side: int) -> bytes:
    """The same as gzipped NIfTI: a few kilobytes whose map takes megabytes."""
    from nibabel import Nifti1Image

    volume = np.load(io.BytesIO(mask(side)))
    return gzip.compress(Nifti1Image(volume.T, np.eye(4)).to_bytes())


SCENARIOS = {"everything": everything_on_it, "database": the_database_alone_on_it}


def main(folder: Path, name: str) -> None:
    """Play a scenario on the file system in `folder`; raises AssertionError."""
    with tempfile.TemporaryDirectory() as elsewhere:
        alone = name == "database"
        settings: dict[str, Any] = {"attempts": 1, "device": "scipy", "poll_seconds": 0.02, "min_free": 1}
        if alone:
            settings["database_url"] = f"sqlite:///{folder}/jobs.sqlite"
        service = Service(Path(elsewhere if alone else folder) / "data", **settings)
        with service, httpx.Client(base_url=service.url, trust_env=False, timeout=90) as http:
            SCENARIOS[name](Client(service, http), Disk(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
