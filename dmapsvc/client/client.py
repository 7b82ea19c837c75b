"""The client: one method a call of the service."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dmapsvc.client.credentials import key_auth
from dmapsvc.client.files import BLOCK, Progress, blocks, new_file, open_body
from dmapsvc.client.parse import parse_job, parse_worker
from dmapsvc.client.parts import FilePart, part_of
from dmapsvc.client.urls import batch_path, case_path, dataset_path, job_path
from dmapsvc.client.wire import Wire
from dmapsvc.jobs import Job, Worker
from dmapsvc.spec import MapSpec, Spacing

SUBMITTING = 600.0  # seconds that a server may take for a folder; 50,000 files take about ten
LONGEST_WAIT = 30.0  # seconds of one long poll; below the minute after which proxies hang up


class Client:
    """A dmapsvc service at `server`, such as 'http://127.0.0.1:8000'; a context manager, for any thread.

    `key` is shown with every request; that of the environment's DMAPSVC_KEY, if there is one, when left out.
    Raises BadInput for a server or key that can be none.

    Every method raises ServerProblem where the server refused or failed, ServerUnreachable where no dmapsvc
    server answered within `timeout` seconds, BadName for a name that no dataset or case can have.
    """

    def __init__(self, server: str, *, key: str | None = None, timeout: float = 60.0) -> None:
        self._wire = Wire(server, timeout, key_auth(key))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    @property
    def server(self) -> str:
        """The server's URL, without a slash at its end."""
        return self._wire.server

    # datasets and cases

    def create_dataset(
        self, dataset: str, spec: MapSpec, names: dict[int, str] | None = None
    ) -> dict[str, Any]:
        """Make `dataset`, or find it made, with `names` for its labels; 409 if its spec is another."""
        body = {"spec": spec.to_json(), "names": {str(value): name for value, name in (names or {}).items()}}
        return self._wire.json("PUT", dataset_path(dataset), json=body)

    def datasets(self) -> list[dict[str, Any]]:
        """Every dataset: name, spec, names, number of cases."""
        return list(self._wire.pages("/v1/datasets", "datasets", {}))

    def dataset(self, dataset: str) -> dict[str, Any]:
        """One dataset: name, spec, names, number of cases, path of its Zarr store."""
        return self._wire.json("GET", dataset_path(dataset))

    def cases(self, dataset: str) -> Iterator[str]:
        """The names of the published cases, sorted."""
        yield from self._wire.pages(f"{dataset_path(dataset)}/cases", "cases", {})

    def case(self, dataset: str, case: str) -> dict[str, Any]:
        """The record of a published case, as JSON."""
        return self._wire.json("GET", case_path(dataset, case))

    def delete(self, dataset: str, case: str | None = None) -> None:
        """Cancel the jobs and remove the arrays of a case, or of the whole dataset."""
        self._wire.send("DELETE", dataset_path(dataset) if case is None else case_path(dataset, case))

    def workers(self) -> list[Worker]:
        """Who runs the jobs, the longest-serving first."""
        return [parse_worker(data) for data in self._wire.json("GET", "/v1/workers")["workers"]]

    # uploads

    def put_mask(
        self,
        dataset: str,
        case: str,
        path: Path,
        *,
        spec: MapSpec | None = None,
        spacing: Spacing | None = None,
        replace: bool = False,
        progress: Progress | None = None,
    ) -> Job:
        """Upload the mask of a case; the job that maps it, done already if this very map is published.

        `spec` is for a dataset that does not exist yet, or must agree with it. `spacing` (z, y, x) in mm is
        for NumPy files, which have none. `replace`: supersede another mask of the case, 409 otherwise.
        """
        params: dict[str, str] = {"replace": "true"} if replace else {}
        if spec is not None:
            params["units"] = spec.units
            params["labels"] = "all" if spec.labels is None else ",".join(map(str, spec.labels))
        return self._upload(f"{case_path(dataset, case)}/mask", path, params, spacing, progress)

    def put_image(
        self,
        dataset: str,
        case: str,
        path: Path,
        *,
        spacing: Spacing | None = None,
        progress: Progress | None = None,
    ) -> Job:
        """Upload the image that goes with a case's mask, before or after it; the job that stores it."""
        return self._upload(f"{case_path(dataset, case)}/image", path, {}, spacing, progress)

    # jobs

    def job(self, job_id: str, *, wait: float = 0.0) -> Job:
        """A job as it is now, or as soon as it ends, but after `wait` seconds at the latest."""
        params = {"wait": f"{wait:g}"} if wait else {}
        return parse_job(
            self._wire.json("GET", job_path(job_id), params=params, timeout=self._wire.timeout + wait)
        )

    def wait(
        self, job_id: str, *, timeout: float | None = None, progress: Callable[[Job], None] | None = None
    ) -> Job:
        """The job once it has ended, or as it is after `timeout` seconds.

        `progress` gets the job every second until then.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            patience = 1.0 if progress else LONGEST_WAIT
            if end is not None:
                patience = min(patience, max(0.0, end - time.monotonic()))
            job = self.job(job_id, wait=patience)
            if progress is not None:
                progress(job)
            if job.ended is not None or (end is not None and time.monotonic() >= end):
                return job

    def jobs(
        self, *, dataset: str | None = None, case: str | None = None, state: str | None = None
    ) -> Iterator[Job]:
        """The latest run of every job, newest first."""
        filters = {"dataset": dataset, "case": case, "state": state}
        params = {name: value for name, value in filters.items() if value is not None}
        yield from map(parse_job, self._wire.pages("/v1/jobs", "jobs", params))

    def cancel(self, job_id: str) -> Job:
        """Cancel a job that waits or runs."""
        return parse_job(self._wire.json("DELETE", job_path(job_id)))

    def retry(self, job_id: str) -> Job:
        """Run a failed or cancelled job again, from its upload; a ServerProblem if that is gone."""
        return parse_job(self._wire.json("POST", f"{job_path(job_id)}/retry"))

    # batches, each as JSON

    def submit_folder(
        self,
        dataset: str,
        labels: str,
        *,
        images: str | None = None,
        pattern: str | None = None,
        spec: MapSpec | None = None,
        spacing: Spacing | None = None,
        replace: bool = False,
    ) -> dict[str, Any]:
        """Make a batch of a folder that the server sees and may read; the rest as for `put_mask`."""
        body = {
            "labels": labels,
            "images": images,
            "pattern": pattern,
            "spec": None if spec is None else spec.to_json(),
            "spacing": spacing,
            "replace": replace,
        }
        path = f"{dataset_path(dataset)}/batches"
        return self._wire.json("POST", path, json=body, timeout=max(self._wire.timeout, SUBMITTING))

    def batches(self) -> Iterator[dict[str, Any]]:
        """The batches, newest first."""
        yield from self._wire.pages("/v1/batches", "batches", {})

    def batch(self, batch_id: str) -> dict[str, Any]:
        """One batch: its jobs by state, the part that has ended, the seconds left."""
        return self._wire.json("GET", batch_path(batch_id))

    def batch_failures(self, batch_id: str) -> Iterator[Job]:
        """The failed jobs of a batch, newest first."""
        yield from map(parse_job, self._wire.pages(f"{batch_path(batch_id)}/failures", "jobs", {}))

    def cancel_batch(self, batch_id: str) -> dict[str, Any]:
        """Cancel the jobs of a batch that wait or run."""
        return self._wire.json("DELETE", batch_path(batch_id))

    # downloads

    def store_file(self, dataset: str, key: str) -> bytes | None:
        """The file `key` of a dataset's Zarr store, such as 'case01/zarr.json'; None if there is none."""
        return self._wire.file(f"/zarr/{dataset}.zarr/{key}")

    @contextmanager
    def store_part(
        self, dataset: str, key: str, *, begin: int = 0, tag: str | None = None
    ) -> Iterator[FilePart | None]:
        """The file `key` of a dataset's Zarr store, to be read inside the block; None if there is none.

        From the byte `begin` on if the file still has the `tag` that an earlier part had, else the whole of
        it: its own `begin` says which.
        """
        with self._wire.part(f"/zarr/{dataset}.zarr/{key}", begin, tag) as answer:
            yield None if answer is None else part_of(answer)

    def download(
        self,
        dataset: str,
        case: str,
        what: str,
        to: Path,
        *,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> Path:
        """Write `what` ('phi.nii.gz' or 'preview.png') of a case to the file `to`, whole or not at all.

        `progress` gets the bytes so far and, where the server says, of all.
        """
        with self._wire.stream(f"{case_path(dataset, case)}/{what}") as answer, new_file(to) as part:
            length = answer.headers.get("content-length")
            for block in answer.iter_bytes(BLOCK):
                part.write(block)
                if progress is not None:
                    progress(answer.num_bytes_downloaded, int(length) if length else None)
        return to

    def _upload(
        self,
        path: str,
        file: Path,
        params: dict[str, str],
        spacing: Spacing | None,
        progress: Progress | None,
    ) -> Job:
        params = {**params, "filename": os.fsencode(file.name).decode(errors="replace")}
        if spacing is not None:
            params["spacing"] = ",".join(repr(float(side)) for side in spacing)
        with open_body(file) as body:
            size = os.fstat(body.fileno()).st_size
            headers = {"content-type": "application/octet-stream", "content-length": str(size)}
            answer = self._wire.json(
                "PUT", path, params=params, headers=headers, content=blocks(body, progress)
            )
        return parse_job(answer)
