"""`dmapsvc report`: what the scores of several contenders say, as a page, figures and tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dmapsvc.cli.output import Meter


def command(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Holds <contender>/<run>/scores.csv of each run.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the report.")],
    reference: Annotated[
        list[str] | None,
        typer.Option(
            "--reference",
            help="A contender that all others are tested against; may be given several times. "
            "Left out: those whose name begins with penalty, or the first.",
        ),
    ] = None,
    truth: Annotated[
        str | None,
        typer.Option(
            "--truth",
            help="The true label maps, for pictures of surface errors: a store, its URL or a folder of label "
            "files. Runs need predictions/<case>.nii.gz.",
        ),
    ] = None,
) -> None:
    """Compare contenders by their scores: tables, tests, figures.

    A run is a folder with the scores.csv that `dmapsvc evaluate` writes; history.csv and settings.json beside
    it are shown too. REPORT/index.html holds everything; figures/ and tables/ hold its parts as files.

    For example:

    \b
        dmapsvc report compared/runs -o report --reference penalty-region --truth knees.zarr
    """
    from dmapsvc.report import write_report

    with Meter("report", None, "figures") as meter:
        page = write_report(
            folder,
            out,
            references=reference or (),
            truth=truth,
            on_figure=lambda name, done, total: meter.show(done, name, total=total),
        )
    typer.echo(str(page))
