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
from dmapsvc.cli.remote import submit_remote
from dmapsvc.cli.submission import Submission, uploads_of
from dmapsvc.errors import BadInput, ServerProblem
from dmapsvc.spec import MapSpec

if TYPE_CHECKING:
    from dmapsvc.client import Client


def command(
    dataset: Annotated[str, typer.Option("--dataset", help="Dataset they go to; made if it is not there.")],
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILES|DIR", help="Masks, or one folder of them.")
    ] = None,
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
    remote_folder: Annotated[
        str | None,
        typer.Option("--remote-folder", help="In place of FILES: a folder of masks that the server sees."),
    ] = None,
    remote_images: Annotated[
        str | None, typer.Option("--remote-images", help="With --remote-folder: its folder of images.")
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option("--pattern", help="With --remote-folder: which files are masks, like '*_dseg.nii.gz'."),
    ] = None,
) -> None:
    """Upload masks and images to a service, which maps them.

    A case is called by its file's path below DIR without the ending, / written __. What is published already
    is not computed again: the same command goes on where it stopped. Exit code 1 if a file was refused or a
    job failed.

    A folder that the server sees itself (DMAPSVC_ROOTS) is not sent but named, and its jobs are followed to
    the end; Ctrl-C leaves them to the service.

    For example:

    \b
        dmapsvc submit labels/ --images images/ --dataset knees --labels 5,6,7 --wait
        dmapsvc submit --remote-folder /data/labelsTr --remote-images /data/imagesTr --dataset knees
    """
    from dmapsvc.client import Client
    from dmapsvc.pipeline import find_cases, unused_images

    MapSpec.parse(labels, units or "voxel")  # raises before anyone is asked
    named, mm = parse_names(names), parse_spacing(spacing)
    _check_either(files, images, remote_folder, remote_images, pattern)
    with Client(server) as client:
        if remote_folder is not None:
            spec = _wanted_spec(client, dataset, labels, units)
            if named:
                client.create_dataset(dataset, spec or _own_spec(client, dataset), named)
            all_done = submit_remote(
                client,
                dataset,
                remote_folder,
                images=remote_images,
                pattern=pattern,
                spec=spec,
                spacing=mm,
                replace=replace,
            )
            raise typer.Exit(0 if all_done else 1)
        assert files is not None
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


def _check_either(
    files: list[Path] | None,
    images: Path | None,
    remote_folder: str | None,
    remote_images: str | None,
    pattern: str | None,
) -> None:
    """Raise BadInput unless files of this machine are given, or a folder of the server, but not both."""
    if bool(files) == (remote_folder is not None):
        raise BadInput(
            "FILES and --remote-folder" if files else "neither FILES nor --remote-folder",
            "wanted masks of this machine, or a folder that the server sees",
        )
    if files and (remote_images or pattern):
        raise BadInput("--remote-images or --pattern without --remote-folder")
    if remote_folder is not None and images is not None:
        raise BadInput(
            "--images with --remote-folder", remedy="Name the server's folder with --remote-images"
        )


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
