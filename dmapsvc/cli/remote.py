"""`dmapsvc submit --remote-folder`: a folder that the server sees is submitted by its name, and followed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from dmapsvc.cli.batches import ended, follow
from dmapsvc.cli.output import plural
from dmapsvc.listing import FEW
from dmapsvc.spec import MapSpec, Spacing

if TYPE_CHECKING:
    from dmapsvc.client import Client


def submit_remote(
    client: Client,
    dataset: str,
    folder: str,
    *,
    images: str | None,
    pattern: str | None,
    spec: MapSpec | None,
    spacing: Spacing | None,
    replace: bool,
) -> bool:
    """Submit a folder of the server and follow its jobs to the end; whether none failed.

    Stopping it (KeyboardInterrupt) leaves them to the service.
    """
    batch = client.submit_folder(
        dataset, folder, images=images, pattern=pattern, spec=spec, spacing=spacing, replace=replace
    )
    found = f"{plural(batch['cases'], 'case')}, {plural(batch['files'], 'file')}"
    try:
        typer.echo(f"batch {batch['id']}: {found}", err=True)
        batch = follow(client, batch)
    except KeyboardInterrupt:
        command = f"dmapsvc batch show {batch['id']} --watch --server {client.server}"
        typer.echo(f"the service goes on; see `{command}`", err=True)
        raise
    _tell_failures(client, batch)
    typer.echo(ended(batch))
    return not batch["jobs"]["failed"]


def _tell_failures(client: Client, batch: dict[str, Any]) -> None:
    """The first few of what failed, and where the others are."""
    failed = batch["jobs"]["failed"]
    for _, job in zip(range(FEW), client.batch_failures(batch["id"]), strict=False):
        typer.echo(f"error: {job.case}: {job.problem.detail if job.problem else job.state}", err=True)
    if failed > FEW:
        command = f"dmapsvc batch failures {batch['id']} --server {client.server}"
        typer.echo(f"{failed - FEW} more failed; see `{command}`", err=True)
