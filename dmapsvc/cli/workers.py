"""`dmapsvc workers`: who runs the jobs of the service, and on what."""

from __future__ import annotations

import typer

from dmapsvc.cli.options import SERVER, Server
from dmapsvc.cli.output import print_table

_GIB = 2**30


def command(server: Server = SERVER) -> None:
    """List the workers of a service and how busy they are.

    For example:

    \b
        dmapsvc workers --server http://maps.example.org
    """
    from dmapsvc.client import Client

    with Client(server) as client:
        workers = client.workers()
    if not workers:
        typer.echo("no workers: jobs wait until one is started", err=True)
        return
    columns = ("host", "pid", "version", "backend", "device", "memory", "jobs", "since", "state")
    rows = [
        (
            worker.host,
            worker.pid,
            worker.version,
            worker.backend,
            worker.device,
            _memory(worker.memory_used, worker.memory_total),
            f"{worker.running}/{worker.concurrency}",
            f"{worker.started.astimezone():%Y-%m-%d %H:%M}",
            "away" if worker.away else "here",
        )
        for worker in workers
    ]
    print_table(columns, rows)


def _memory(used: int | None, total: int | None) -> str | None:
    if used is None or total is None:
        return None
    return f"{used / _GIB:.1f}/{total / _GIB:.1f} GiB"
