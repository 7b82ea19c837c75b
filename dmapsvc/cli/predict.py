"""`dmapsvc predict`: label maps, by the network that a run trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from dmapsvc.cli.extras import train_extra
from dmapsvc.cli.output import Meter
from dmapsvc.cli.served import asked_dataset
from dmapsvc.errors import BadInput
from dmapsvc.train.split import SIDES

if TYPE_CHECKING:
    from dmapsvc.train.runfolder import Which
    from dmapsvc.train.settings import Device

_WORDS = (*SIDES, "all")


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder of a training.")],
    location: Annotated[
        str,
        typer.Argument(metavar="STORE|URL|IMAGES", help="A dataset, its URL, or a folder of image files."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for CASE.nii.gz.")],
    cases: Annotated[
        str | None,
        typer.Option(
            "--cases",
            help="test, valid or train of the run's split, all, or names like a,b,c; left out: test of a "
            "dataset, all image files.",
        ),
    ] = None,
    checkpoint: Annotated[str, typer.Option("--checkpoint", help="best (by validation) or last.")] = "best",
    overlap: Annotated[
        float,
        typer.Option("--overlap", help="Of the windows that go through the network, from 0 to below 1."),
    ] = 0.5,
    closing: Annotated[
        int, typer.Option("--closing", help="Close gaps narrower than a ball of so many voxels' radius.")
    ] = 0,
    components: Annotated[
        int, typer.Option("--components", help="Keep the so many largest pieces; 0: all.")
    ] = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    replace: Annotated[bool, typer.Option("--replace", help="Predict again what is there.")] = False,
) -> None:
    """Predict label maps with a trained network.

    Each has the label values of the dataset that the network learnt from, and the grid of its mask, or of its
    image file. What is there already is skipped: the same command goes on where it stopped. Cases that cannot
    be predicted are listed at the end; exit code 1 if there are any.

    For example:

    \b
        dmapsvc predict run knees.zarr -o predictions
        dmapsvc predict run knees.zarr -o predictions --closing 2 --components 3
        dmapsvc predict run new-images/ -o predictions
    """
    if checkpoint not in ("best", "last"):
        raise BadInput(f"--checkpoint {checkpoint!r}", "wanted best or last")
    with train_extra(), Meter("predict", None, "cases") as meter, asked_dataset(location):
        from dmapsvc.train.predictions import predict

        def show(done: float, total: int, case: str) -> None:
            meter.show(done, case, total=total)

        def ended_case(done: int, total: int, case: str) -> None:
            show(done, total, case)
            if (file := out / f"{case}.nii.gz").exists():  # it may have failed
                meter.log(str(file))

        ended = predict(
            run,
            location,
            out,
            cases=cases if cases is None or cases in _WORDS else [name.strip() for name in cases.split(",")],
            checkpoint=cast("Which", checkpoint),
            overlap=overlap,
            closing=closing,
            components=components,
            device=cast("Device", device),  # which `predict` checks
            replace=replace,
            on_case=ended_case,
            on_progress=show,
        )
    for _, problem in ended.failed:
        typer.echo(f"error: {problem.detail}", err=True)
    there = f", {len(ended.skipped)} there already" if ended.skipped else ""
    typer.echo(f"{out}: {len(ended.done)} predicted{there}, {len(ended.failed)} failed")
    raise typer.Exit(1 if ended.failed else 0)
