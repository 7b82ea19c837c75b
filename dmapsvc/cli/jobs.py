"""`dmapsvc jobs`: what the service runs, what waits, what failed and why; cancel and retry."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from dmapsvc.cli.options import SERVER, Server
from dmapsvc.cli.output import Meter, print_fields, print_table, seconds_by_stage
from dmapsvc.errors import BadInput, NotFound

if TYPE_CHECKING:
    from dmapsvc.client import Client
    from dmapsvc.jobs import Job

ID_LENGTH = 64


def command(
    job: Annotated[
        str | None, typer.Argument(metavar="JOB", help="A job's id, or how it begins; left out: list them.")
    ] = None,
    server: Server = SERVER,
    dataset: Annotated[str | None, typer.Option("--dataset", help="List the jobs of this dataset.")] = None,
    state: Annotated[
        str | None,
        typer.Option("--state", help="List jobs that are queued, running, done, failed or cancelled."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="List so many, the newest first.")] = 50,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel JOB.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Run a failed or cancelled JOB again.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Follow JOB until it ends.")] = False,
) -> None:
    """List jobs, or show, watch, cancel or retry one.

    For example:

    \b
        dmapsvc jobs --dataset knees --state failed
        dmapsvc jobs 3f9ac2 --retry --watch
    """
    from dmapsvc.client import Client

    if job is None and (cancel or retry or watch):
        raise BadInput(
            "--cancel, --retry or --watch without JOB", remedy="Name the job; `dmapsvc jobs` lists them"
        )
    if cancel and (retry or watch):
        raise BadInput("--cancel together with --retry or --watch", "wanted one of them")
    with Client(server) as client:
        if job is None:
            _list(islice(client.jobs(dataset=dataset, state=state), limit))
            return
        found = client.job(_whole_id(client, job))
        if cancel:
            if found.ended is not None:
                typer.echo(f"nothing was cancelled: the job is {found.state}", err=True)
            found = client.cancel(found.id)
        if retry:
            found = client.retry(found.id)
        if watch:
            found = _watch(client, found)
    _show(found)
    if watch and found.state != "done":
        raise typer.Exit(1)


def _list(jobs: Iterator[Job]) -> None:
    columns = ("job", "dataset", "case", "kind", "state", "created", "stage", "percent", "position", "why")
    rows = [
        (
            job.id[:12],
            job.dataset,
            job.case,
            job.kind,
            job.state,
            f"{job.created.astimezone():%Y-%m-%d %H:%M}" if job.created else None,
            job.stage,
            f"{job.percent:.0f}",
            job.position,
            job.problem.detail if job.problem else None,
        )
        for job in jobs
    ]
    if rows:
        print_table(columns, rows)
    else:
        typer.echo("no jobs", err=True)


def _show(job: Job) -> None:
    print_fields(
        {
            "job": job.id,
            "run": job.run,
            "kind": job.kind,
            "dataset": job.dataset,
            "case": job.case,
            "file": job.filename,
            "state": job.state,
            "stage": job.stage,
            "percent": job.percent,
            "position": job.position,
            "attempts": job.attempts,
            "backend": job.backend,
            "created": job.created,
            "started": job.started,
            "ended": job.ended,
            "seconds": seconds_by_stage(job.seconds) or None,
            "notes": job.notes,
            "why": job.problem.detail if job.problem else None,
        }
    )


def _watch(client: Client, job: Job) -> Job:
    with Meter("job", 100, "%") as meter:
        return client.wait(job.id, progress=lambda now: meter.show(now.percent, now.stage or now.state))


def _whole_id(client: Client, start: str) -> str:
    """The one job's id that begins with `start`."""
    if len(start) >= ID_LENGTH:
        return start
    found = {job.id for job in client.jobs() if job.id.startswith(start.lower())}
    if not found:
        raise NotFound(f"job {start}", "no job's id begins so", "`dmapsvc jobs` lists them")
    if len(found) > 1:
        raise BadInput(f"job {start}", f"{len(found)} jobs' ids begin so", "Write more of it")
    return found.pop()
