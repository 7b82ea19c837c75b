"""`dmapsvc gc`: remove what a service no longer needs, or see what that would be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dmapsvc.cli.extras import service_extra
from dmapsvc.cli.output import print_table


def command(
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder of the service; left out: DMAPSVC_DATA.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would be removed; change nothing.")
    ] = False,
) -> None:
    """Remove what a service no longer needs.

    That is jobs that ended long ago, and what processes left that died.

    Workers do the same now and then by themselves. It may run beside them, on any machine that sees the
    service's folder and its database. Nothing that is published is touched.

    For example:

    \b
        dmapsvc gc --data /srv/dmapsvc --dry-run
    """
    from dmapsvc.settings import load_settings

    settings = load_settings(**({} if data is None else {"data": data}))
    with service_extra():
        from dmapsvc.keeping.collector import collect

        tallies = collect(settings, dry_run=dry_run)
    print_table(
        ("found" if dry_run else "removed", "count", "MB"),
        [(tally.what, tally.count, f"{tally.bytes / 1e6:.1f}") for tally in tallies if tally.fault is None],
    )
    faults = [f"{tally.what}: {tally.fault}" for tally in tallies if tally.fault is not None]
    for fault in faults:
        typer.echo(f"could not be looked at or removed: {fault}", err=True)
    if faults:
        raise typer.Exit(1)
