"""`dmapsvc submit`: masks and images go to the service, and with --wait their jobs are watched to the end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmapsvc.cli.options import (
    SERVER,
    Images,
    Labels,
    Server,
    SpacingText,
    parse_spacing,
)
from dmapsvc.cli.output import Meter, plural, print_table, region_maxima, seconds_by_stage
from dmapsvc.errors import BadFile, Problem, ServerProblem
from dmapsvc.spec import MapSpec, Spacing

if TYPE_CHECKING:
    from dmapsvc.client import Client
    from dmapsvc.jobs import Job
    from dmapsvc.pipeline import CaseFile

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


def command(
    files: Annotated[list[Path], typer.Argument(metavar="FILES|DIR", help="Masks, or one folder of them.")],
    dataset: Annotated[str, typer.Option("--dataset", help="Dataset they go to; made if it is not there.")],
    server: Server = SERVER,
    images: Images = None,
    labels: Labels = None,
    units: Annotated[
        str | None,
        typer.Option("--units", help="Unit of the distances: voxel (what a new dataset has) or mm."),
    ] = None,
    spacing: SpacingText = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Supersede other masks of the same cases.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the jobs and show what came of them.")
    ] = False,
) -> None:
    """Upload masks and images to a service, which maps them.

    A case is called by its file's path below DIR without the ending, / written __. What is published already
    is not computed again: the same command goes on where it stopped. Exit code 1 if a file was refused or a
    job failed.

    For example:

    \b
        dmapsvc submit labels/ --images images/ --dataset knees --labels 5,6,7 --wait
    """
    from dmapsvc.client import Client
    from dmapsvc.pipeline import find_cases

    spec = None if labels is None and units is None else MapSpec.parse(labels, units or "voxel")
    mm = parse_spacing(spacing)
    with Client(server) as client:
        uploads = _uploads(find_cases(files[0] if len(files) == 1 else files, images))
        submission = Submission(client, dataset)
        try:
            submission.upload(uploads, spec=spec, spacing=mm, replace=replace)
            if wait:
                submission.wait()
        except KeyboardInterrupt:
            submission.say_goodbye()
            raise
        submission.report()
    raise typer.Exit(1 if submission.failures else 0)


class Submission:
    """What was sent to one dataset in this run: the jobs by upload, and the problems of those that failed."""

    def __init__(self, client: Client, dataset: str) -> None:
        self._client, self._dataset = client, dataset
        self._jobs: dict[Upload, Job] = {}
        self.failures: dict[Upload, Problem] = {}

    def upload(
        self, uploads: list[Upload], *, spec: MapSpec | None, spacing: Spacing | None, replace: bool
    ) -> None:
        """Send every file. One that is refused is noted, or raised if it is the only one."""
        sizes = [_size(upload.path) for upload in uploads]
        with Meter("upload", sum(sizes), "B") as meter:
            for upload, before in zip(uploads, accumulate(sizes, initial=0), strict=False):
                try:
                    self._jobs[upload] = self._send(upload, spec, spacing, replace, meter, before)
                    meter.log(f"{upload.title}: {self._jobs[upload].state}")
                except (BadFile, ServerProblem) as error:
                    if len(uploads) == 1 or error.problem.status >= 500:
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
                for note in job.notes:
                    meter.say(f"{upload.title}: {note}")

    def report(self) -> None:
        """The table of the masks that were taken."""
        masks = {upload: job for upload, job in self._jobs.items() if not upload.is_image}
        if masks:
            columns = ("case", "state", "largest distances", "seconds", "backend", "job")
            print_table(columns, [self._row(upload, job) for upload, job in masks.items()])

    def say_goodbye(self) -> None:
        """Where to find the jobs that go on without us."""
        on = sum(job.ended is None for job in self._jobs.values())
        if on:
            command = f"dmapsvc jobs --server {self._client.server} --dataset {self._dataset}"
            typer.echo(f"{plural(on, 'job')} not ended: the service goes on; see `{command}`", err=True)

    def _send(
        self,
        upload: Upload,
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

    def _row(self, upload: Upload, job: Job) -> tuple[object, ...]:
        maxima = ""
        if job.state == "done":
            maxima = region_maxima(self._client.case(self._dataset, upload.case)["regions"])
        return upload.case, job.state, maxima, seconds_by_stage(job.seconds), job.backend, job.id[:12]


class _Counter:
    """Adds up the bytes of one upload and shows them."""

    def __init__(self, meter: Meter, before: int, title: str) -> None:
        self._meter, self._sent, self._title = meter, before, title

    def __call__(self, count: int) -> None:
        self._sent += count
        self._meter.show(self._sent, self._title)


def _uploads(cases: list[CaseFile]) -> list[Upload]:
    uploads: list[Upload] = []
    for case in cases:
        uploads.append(Upload(case=case.case, path=case.mask, is_image=False))
        if case.image is not None:
            uploads.append(Upload(case=case.case, path=case.image, is_image=True))
    return uploads


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
