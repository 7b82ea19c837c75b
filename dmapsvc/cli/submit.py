"""`dmapsvc submit`: masks and images go to the service, and with --wait their jobs are watched to the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmapsvc.cli.options import (
    SERVER,
    Images,
    Labels,
    Names,
    Server,
    SpacingText,
    parse_names,
    parse_spacing,
)
from dmapsvc.cli.pairs import pairing
from dmapsvc.cli.submission import Submission, uploads_of
from dmapsvc.errors import ServerProblem
from dmapsvc.spec import MapSpec

if TYPE_CHECKING:
    from dmapsvc.client import Client


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
    names: Names = None,
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
    from dmapsvc.pipeline import find_cases, unused_images

    MapSpec.parse(labels, units or "voxel")  # raises before anyone is asked
    named, mm = parse_names(names), parse_spacing(spacing)
    with Client(server) as client:
        cases = find_cases(files[0] if len(files) == 1 else files, images)
        uploads = uploads_of(cases)
        spec = _wanted_spec(client, dataset, labels, units)
        if named:
            client.create_dataset(dataset, spec or _own_spec(client, dataset), named)
        submission = Submission(client, dataset)
        try:
            submission.upload(uploads, spec=spec, spacing=mm, replace=replace)
            if wait:
                submission.wait()
        except KeyboardInterrupt:
            submission.say_goodbye()
            raise
        submission.report()
    if images is not None:
        without = [case.case for case in cases if case.image is None]
        for line in pairing(without, unused_images(cases, images)):
            typer.echo(line, err=True)
    raise typer.Exit(1 if submission.failures else 0)


def _own_spec(client: Client, dataset: str) -> MapSpec:
    """The spec of a dataset; that of a new one, the defaults, if there is none yet."""
    try:
        return MapSpec.from_json(client.dataset(dataset)["spec"])
    except ServerProblem as error:
        if error.problem.status != 404:
            raise
        return MapSpec()


def _wanted_spec(client: Client, dataset: str, labels: str | None, units: str | None) -> MapSpec | None:
    """The spec that was asked for, what was left out of it being the dataset's own; None for nothing."""
    if labels is None and units is None:
        return None
    own = _own_spec(client, dataset)
    asked = MapSpec.parse(labels, units or own.units)
    return asked if labels is not None else MapSpec(labels=own.labels, units=asked.units)
