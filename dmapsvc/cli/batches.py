"""`dmapsvc batch`: the batches of a service: list, show, what failed, cancel. `submit` makes them."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dmapsvc.cli.options import SERVER, Server
from dmapsvc.cli.output import Meter, plural, print_fields, print_table

if TYPE_CHECKING:
    from dmapsvc.client import Client

LOOK_SECONDS = 1.0  # between two looks at a batch that is followed

app = typer.Typer(no_args_is_help=True)

BatchId = Annotated[str, typer.Argument(metavar="BATCH", help="A batch's id.")]


@app.callback()
def root() -> None:
    """List, show and cancel batches of a service.

    A batch is a folder of the server that became jobs; `dmapsvc submit --remote-folder` makes one.

    For example:

    \b
        dmapsvc batch list
    """


@app.command("list")
def show_all(
    server: Server = SERVER,
    limit: Annotated[int, typer.Option("--limit", min=1, help="List so many, the newest first.")] = 50,
) -> None:
    """List the batches and how far they are.

    For example:

    \b
        dmapsvc batch list --limit 5
    """
    from dmapsvc.client import Client

    columns = ("batch", "dataset", "folder", "made", "ended", "done", "failed", "cancelled")
    with Client(server) as client:
        rows = [
            (
                batch["id"],
                batch["dataset"],
                batch["labels"],
                f"{datetime.fromisoformat(batch['created']).astimezone():%Y-%m-%d %H:%M}",
                f"{100 * batch['fraction']:.0f} %",
                *(batch["jobs"][state] for state in ("done", "failed", "cancelled")),
            )
            for batch in islice(client.batches(), limit)
        ]
    if rows:
        print_table(columns, rows)
    else:
        typer.echo("no batches", err=True)


@app.command("show")
def show(
    batch: BatchId,
    server: Server = SERVER,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it until all its jobs have ended.")] = False,
) -> None:
    """Show a batch: its folders, its jobs by state, and the time left.

    For example:

    \b
        dmapsvc batch show 3f9ac2d1e5b84c6f9a7d0e2c4b6a8f10 --watch
    """
    from dmapsvc.client import Client

    with Client(server) as client:
        found = follow(client, client.batch(batch)) if watch else client.batch(batch)
    left = found["seconds_left"]
    print_fields(
        {
            "batch": found["id"],
            "dataset": found["dataset"],
            "labels": found["labels"],
            "images": found["images"],
            "pattern": found["pattern"],
            "submitted": "all" if found["submitted"] else "in part: submit it again, unless that goes on",
            "cases": found["cases"],
            "files": found["files"],
            "there": found["published"],
            "elsewhere": found["under_way"],
            **found["jobs"],
            "left": None if left is None else str(timedelta(seconds=round(left))),
        }
    )
    if watch and found["jobs"]["failed"]:
        raise typer.Exit(1)


@app.command("failures")
def failures(
    batch: BatchId,
    server: Server = SERVER,
    limit: Annotated[int, typer.Option("--limit", min=1, help="List so many.")] = 1000,
) -> None:
    """List what failed in a batch, and why.

    For example:

    \b
        dmapsvc batch failures 3f9ac2d1e5b84c6f9a7d0e2c4b6a8f10
    """
    from dmapsvc.client import Client

    with Client(server) as client:
        jobs = islice(client.batch_failures(batch), limit)
        rows = [
            (job.case, job.kind, job.filename, job.problem.detail if job.problem else None, job.id[:12])
            for job in jobs
        ]
    if rows:
        print_table(("case", "kind", "file", "why", "job"), rows)
    else:
        typer.echo("nothing failed", err=True)


@app.command("cancel")
def cancel(batch: BatchId, server: Server = SERVER) -> None:
    """Cancel the jobs of a batch that wait or run; what is published stays.

    For example:

    \b
        dmapsvc batch cancel 3f9ac2d1e5b84c6f9a7d0e2c4b6a8f10
    """
    from dmapsvc.client import Client

    with Client(server) as client:
        found = client.cancel_batch(batch)
    typer.echo(ended(found), err=True)


def follow(client: Client, batch: dict[str, Any]) -> dict[str, Any]:
    """The batch once all its jobs have ended; a bar, or lines, until then."""
    with Meter("batch", sum(batch["jobs"].values()), "files") as meter:
        while True:
            live = batch["jobs"]["queued"] + batch["jobs"]["running"]
            total = sum(batch["jobs"].values())
            meter.show(total - live, _note(batch), total=total)
            if not live:
                return batch
            time.sleep(LOOK_SECONDS)
            batch = client.batch(batch["id"])


def ended(batch: dict[str, Any]) -> str:
    """'knees: 3 files done, 1 failed, 0 cancelled, 2 there already, 0 under way elsewhere'."""
    jobs = batch["jobs"]
    live = jobs["queued"] + jobs["running"]
    return (
        f"{batch['dataset']}: {plural(jobs['done'], 'file')} done, {jobs['failed']} failed, "
        f"{jobs['cancelled']} cancelled, {batch['published']} there already, "
        f"{batch['under_way']} under way elsewhere" + (f", {live} not ended" if live else "")
    )


def _note(batch: dict[str, Any]) -> str:
    failed = batch["jobs"]["failed"]
    return f"{failed} failed" if failed else ""
