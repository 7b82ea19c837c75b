"""The files of one `dmapsvc submit`: sent one after another, watched to their end, and told of."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dmapsvc.cli.output import (
    Meter,
    Notes,
    plural,
    print_table,
    region_maxima,
    seconds_by_stage,
    unit_word,
    without_labels,
)
from dmapsvc.errors import BadFile, GridMismatch, Problem, ServerProblem
from dmapsvc.spec import MapSpec, Spacing

if TYPE_CHECKING:
    from dmapsvc.client import Client
    from dmapsvc.jobs import Job
    from dmapsvc.pipeline import CaseFile

_GRID_MISMATCH = GridMismatch("").problem.type
FULL_QUEUE_SECONDS = 5.0  # between two tries where a full queue does not say when to come again


@dataclass(frozen=True, kw_only=True)
class Upload:
    """One file to send: the mask of a case, or its image."""

    case: str
    path: Path
    is_image: bool

    @property
    def title(self) -> str:
        """What lines about it call it."""
        return f"{self.case} (image)" if self.is_image else self.case


def uploads_of(cases: list[CaseFile]) -> list[Upload]:
    """The files of the cases, each image after its mask."""
    uploads: list[Upload] = []
    for case in cases:
        uploads.append(Upload(case=case.case, path=case.mask, is_image=False))
        if case.image is not None:
            uploads.append(Upload(case=case.case, path=case.image, is_image=True))
    return uploads


class Submission:
    """What was sent to one dataset in this run: the jobs by upload, and the problems of those that failed."""

    def __init__(self, client: Client, dataset: str) -> None:
        self._client, self._dataset = client, dataset
        self._jobs: dict[Upload, Job] = {}
        self._there: set[Upload] = set()  # done before this run
        self.failures: dict[Upload, Problem] = {}

    def upload(
        self, uploads: list[Upload], *, spec: MapSpec | None, spacing: Spacing | None, replace: bool
    ) -> None:
        """Send every file. One that is refused is noted, or raised if it is the only one."""
        sizes = [_size(upload.path) for upload in uploads]
        images = {upload.case: upload for upload in uploads if upload.is_image}
        with Meter("upload", sum(sizes), "B") as meter:
            for upload, before in zip(uploads, accumulate(sizes, initial=0), strict=False):
                if upload in self._jobs:
                    continue  # an image that had to go before its mask
                send = partial(
                    self._send, spec=spec, spacing=spacing, replace=replace, meter=meter, before=before
                )
                try:
                    self._take(upload, images.get(upload.case), send)
                    meter.log(f"{upload.title}: {self._jobs[upload].state}")
                except (BadFile, ServerProblem) as error:
                    if len(uploads) == 1 or _concerns_all(error.problem):
                        raise
                    self._fail(upload, error.problem, meter)

    def wait(self) -> None:
        """Watch the jobs, in the order they were sent, until each has ended."""
        with Meter("jobs", len(self._jobs), "jobs") as meter:
            for number, (upload, job) in enumerate(self._jobs.items()):
                if job.ended is None:
                    job = self._client.wait(job.id, progress=partial(_show, meter, number, upload))
                    self._jobs[upload] = job
                meter.show(number + 1)
                if job.state != "done":
                    self._fail(upload, job.problem or _ended(job), meter)
                else:
                    meter.log(f"{upload.title}: {job.state}")

    def report(self) -> None:
        """The notes, the table of the masks and of what was refused, and how many files ended how."""
        notes = Notes()
        for upload, job in self._jobs.items():
            notes.add(upload.title, job.notes)
        for line in notes.lines():
            typer.echo(line, err=True)
        records = {
            upload: self._client.case(self._dataset, upload.case)
            for upload, job in self._jobs.items()
            if job.state == "done" and not upload.is_image
        }
        rows = [
            _row(upload, job, records.get(upload))
            for upload, job in self._jobs.items()
            if not upload.is_image or upload in self.failures
        ]
        refused = [upload for upload in self.failures if upload not in self._jobs]
        rows += [(upload.title, "refused", None, None, None, None) for upload in refused]
        units = "".join(f" ({unit_word(record['spec']['units'])})" for record in [*records.values()][:1])
        print_table(("case", "state", f"largest distances{units}", "seconds", "backend", "job"), rows)
        typer.echo(f"{self._dataset}: {self._counts()}{without_labels(map(_values, records.values()))}")

    def _counts(self) -> str:
        """How many files ended how, or not yet."""
        on = sum(job.ended is None for job in self._jobs.values())
        failed, there = len(self.failures), len(self._there)
        done = sum(job.state == "done" for job in self._jobs.values()) - there
        counts = f"{plural(done, 'file')} done, {there} there already, {failed} failed"
        return counts + (f", {on} not ended" if on else "")

    def say_goodbye(self) -> None:
        """Where to find the jobs that go on without us."""
        on = sum(job.ended is None for job in self._jobs.values())
        if on:
            command = f"dmapsvc jobs --server {self._client.server} --dataset {self._dataset}"
            typer.echo(f"{plural(on, 'job')} not ended: the service goes on; see `{command}`", err=True)

    def _take(self, upload: Upload, image: Upload | None, send: Callable[[Upload], Job]) -> None:
        """Send a file. A mask that an image held there does not fit is sent again after its own `image`."""
        try:
            job = send(upload)
        except ServerProblem as error:
            if error.problem.type != _GRID_MISMATCH or image is None or upload.is_image:
                raise
            first = self._jobs[image] = self._client.wait(send(image).id)
            if first.state != "done":
                self.failures[image] = first.problem or _ended(first)
            job = send(upload)
        self._jobs[upload] = job
        if job.state == "done":
            self._there.add(upload)

    def _send(
        self,
        upload: Upload,
        *,
        spec: MapSpec | None,
        spacing: Spacing | None,
        replace: bool,
        meter: Meter,
        before: int,
    ) -> Job:
        """Upload one file, again and again while the queue is full."""
        while True:
            sent = _Counter(meter, before, upload.title)
            try:
                if upload.is_image:
                    return self._client.put_image(
                        self._dataset, upload.case, upload.path, spacing=spacing, progress=sent
                    )
                return self._client.put_mask(
                    self._dataset,
                    upload.case,
                    upload.path,
                    spec=spec,
                    spacing=spacing,
                    replace=replace,
                    progress=sent,
                )
            except ServerProblem as error:
                if error.problem.status != 503:
                    raise
                meter.show(before, "the queue is full, waiting")
                time.sleep(error.retry_after or FULL_QUEUE_SECONDS)

    def _fail(self, upload: Upload, problem: Problem, meter: Meter) -> None:
        self.failures[upload] = problem
        meter.say(f"error: {upload.title}: {problem.detail}")


class _Counter:
    """Adds up the bytes of one upload and shows them."""

    def __init__(self, meter: Meter, before: int, title: str) -> None:
        self._meter, self._sent, self._title = meter, before, title

    def __call__(self, count: int) -> None:
        self._sent += count
        self._meter.show(self._sent, self._title)


def _concerns_all(problem: Problem) -> bool:
    """Whether the next file would be answered alike: the service fails, or wants another key."""
    return problem.status >= 500 or problem.status in (401, 403)


def _row(upload: Upload, job: Job, record: dict[str, Any] | None) -> tuple[object, ...]:
    maxima = region_maxima(record["regions"]) if record else None
    return upload.title, job.state, maxima, seconds_by_stage(job.seconds), job.backend, job.id[:12]


def _values(record: dict[str, Any]) -> list[int]:
    return [region["value"] for region in record["regions"]]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # the upload will say what is wrong with it


def _ended(job: Job) -> Problem:
    """The problem of a job that ended without one."""
    return Problem(type="about:blank", title="Not done", status=409, detail=f"The job was {job.state}.")


def _show(meter: Meter, number: int, upload: Upload, job: Job) -> None:
    if job.position is not None:
        meter.show(number, f"number {job.position} in the queue: {upload.title}")
    else:
        meter.show(number + job.percent / 100, f"{job.stage or job.state} {job.percent:.0f} % {upload.title}")
