"""Numbered inputs over HTTP into a service with a worker, and what must hold for each and for all.

A body is answered in time and never with a 5xx of the inside; a job that was accepted ends in time, done or
with a problem; what is published can be read in every form.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx
import psutil

from demo.service import Part, Service
from tests.fuzz import hostile
from tests.fuzz.inputs import numbered
from tests.fuzz.judging import LONGEST
from tests.fuzz.watching import PATIENCE, START

DATASETS = ("any", "mm", "some")  # every label in voxels; in mm; three labels only
_CASES = 12
_QUERIES = {
    "spacing": ("1,1,1", "0.5,2,1e-6", "nan,1,1", "1e400,1,1", "1,1", "", "a" * 500),
    "filename": ("a.nii.gz", "../../x\r\ny", "\u202e" * 40, "é" * 300, "\0"),
    "labels": ("1,2", "all", ",", "0", "1,1", "9" * 5000, "x" * 3000, "\0", "1," * 9000 + "9,9"),
    "units": ("mm", "voxel", "", "u" * 3000),
    "replace": ("true", "false", "2"),
}  # fmt: skip


@dataclass
class Uploaded:
    """What became of the uploads: statuses and ends, what was wrong, the slowest answer in seconds."""

    statuses: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, -1)
    memory: dict[Part, list[int]] = field(default_factory=lambda: {"api": [], "worker": []})
    inputs: int = 0


def limited(folder: Path) -> Service:
    """A service with a worker, which refuses by their headers the volumes that would take it long."""
    return Service(folder, max_body=4_000_000, memory_budget=1 << 28)


class Uploader:
    """Uploads inputs to `service`, one by one, and looks at what comes of them."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.seen = Uploaded()
        self._http = httpx.Client(base_url=service.url, trust_env=False, timeout=PATIENCE)
        _await_worker(service)
        self._worker = _doing(service, "worker")
        for dataset, spec in zip(DATASETS, ({}, {"units": "mm"}, {"labels": [1, 2, 3]}), strict=True):
            self._http.put(f"/v1/datasets/{dataset}", json={"spec": spec}).raise_for_status()

    def upload(self, number: int) -> None:
        """Upload the input of a number and see its job end."""
        random = Random(number)
        dataset, case = random.choice(DATASETS), f"c{random.randrange(_CASES)}"
        kind = random.choice(("mask", "mask", "mask", "image"))
        query = {name: random.choice(values) for name, values in _QUERIES.items() if random.random() < 0.15}
        if kind == "mask" and random.random() < 0.7:
            query["replace"] = "true"
        elif kind == "image":
            query.pop("replace", None)
        address = f"/v1/datasets/{dataset}/cases/{case}"
        answer = self._ask(number, "PUT", f"{address}/{kind}", query, numbered(number).content)
        if answer is not None and answer.status_code in (200, 202) and "location" in answer.headers:
            state = self._follow(number, answer.headers["location"])
            if state == "done" and kind == "mask" and random.random() < 0.3:
                self._read(number, dataset, case)
        self.seen.inputs += 1
        if self.seen.inputs % 50 == 0:
            self.look()

    def disturb(self, number: int) -> None:
        """Send the hostile request of a number and see it answered, refused or hung up on in time."""
        content, began = hostile.request(Random(number)), time.monotonic()
        try:
            status = hostile.status_of(hostile.send(self.service.url, content))
        except OSError as error:
            self.seen.faults.append(f"hostile {number}: {error!r}")
            return
        self.seen.slowest = max(self.seen.slowest, (time.monotonic() - began, number))
        self.seen.statuses[f"hostile {status}"] += 1
        if status >= 500:
            self.seen.faults.append(f"hostile {number}: {status} to {content[:200]!r}")

    def look(self) -> None:
        """Note memory, and whether the service is ready and the process that runs jobs is the one it was."""
        for part in self.seen.memory:
            self.seen.memory[part].append(_doing(self.service, part).memory_info().rss)
        if self._http.get("/readyz").status_code != 200:
            self.seen.faults.append(f"not ready after {self.seen.inputs} inputs")
        if _doing(self.service, "worker") != self._worker:
            self.seen.faults.append(f"another process runs jobs after {self.seen.inputs} inputs")
            self._worker = _doing(self.service, "worker")

    def _follow(self, number: int, location: str) -> str:
        answer = self._ask(number, "GET", location, {"wait": str(PATIENCE - 1)})
        if answer is None or answer.status_code != 200:
            return ""
        job = answer.json()
        self.seen.statuses[job["state"]] += 1
        if job["state"] not in ("done", "failed", "cancelled"):
            self.seen.faults.append(f"input {number}: {job['state']} after {PATIENCE} s")
        elif job["state"] == "failed" and (job["problem"]["status"] >= 500 or job["attempts"] > 1):
            self.seen.faults.append(f"input {number}: {job['attempts']} attempts, {job['problem']}")
        elif job["problem"] is not None:
            self._check_words(number, job["problem"]["detail"])
        return str(job["state"])

    def _read(self, number: int, dataset: str, case: str) -> None:
        address = f"/v1/datasets/{dataset}/cases/{case}"
        for path in (
            address,
            f"{address}/phi.nii.gz",
            f"{address}/preview.png",
            f"/zarr/{dataset}.zarr/{case}/zarr.json",
        ):
            answer = self._ask(number, "GET", path, {})
            if answer is not None and answer.status_code != 200:
                self.seen.faults.append(f"input {number}: {path} answers {answer.status_code} {answer.text}")

    def _ask(
        self, number: int, method: str, path: str, query: dict[str, str], body: bytes | None = None
    ) -> httpx.Response | None:
        began = time.monotonic()
        try:
            answer = self._http.request(method, path, params=query, content=body)
        except httpx.HTTPError as error:
            self.seen.faults.append(f"input {number}: {method} {path}: {error!r}")
            return None
        self.seen.slowest = max(self.seen.slowest, (time.monotonic() - began, number))
        self.seen.statuses[f"{method} {answer.status_code}"] += 1
        if answer.status_code >= 500:
            self.seen.faults.append(f"input {number}: {method} {path} {query}: {answer.text}")
        elif answer.status_code >= 400:
            self._check_words(number, answer.json()["detail"])
        return answer

    def _check_words(self, number: int, words: str) -> None:
        if not words.isprintable() or len(words) > LONGEST or str(self.service.data) in words:
            self.seen.faults.append(f"input {number}: says {words[:300]!r}")


def _await_worker(service: Service) -> None:
    """Wait until the worker takes jobs: it compiles its kernels first."""
    end = time.monotonic() + START
    while "ready: backend" not in service.log("worker"):
        assert time.monotonic() < end, service.log("worker")
        time.sleep(0.05)


def _doing(service: Service, part: Part) -> psutil.Process:
    """The process of a part that does its work: the last of the line (leash, supervisor, child)."""
    process = psutil.Process(service.process(part).pid)
    while children := process.children():
        process = children[0]
    return process
