"""`dmapsvc view`: a slice of a case as a picture, the label map beside Φ; or a batch of the loader."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dmapsvc.cli.batch_view import BatchView, batch_png
from dmapsvc.cli.options import parse_sides
from dmapsvc.cli.served import asked_dataset
from dmapsvc.errors import BadInput

_OF_CASE, _OF_BATCH = ("axis", "index"), ("patch", "rotation", "scale", "seed")


def command(
    context: typer.Context,
    store: Annotated[str, typer.Argument(metavar="STORE|URL", help="A local dataset, or its URL.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The PNG file.")],
    case: Annotated[
        str | None, typer.Argument(metavar="CASE", help="The case; left out with --batch.")
    ] = None,
    axis: Annotated[
        str | None,
        typer.Option("--axis", help="Of a case, the axis that is cut: z, y or x; left out: the coarsest."),
    ] = None,
    index: Annotated[
        int | None,
        typer.Option(
            "--index", help="Of a case, the slice; left out: the one with the most labelled voxels."
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option("--batch", help="Instead of a case, so many patches as the loader draws them."),
    ] = None,
    patch: Annotated[
        str, typer.Option("--patch", help="With --batch: sides z,y,x of a patch in voxels.")
    ] = "64,64,64",
    rotation: Annotated[
        float, typer.Option("--rotation", help="With --batch: the most degrees by which patches are rotated.")
    ] = 15.0,
    scale: Annotated[
        str, typer.Option("--scale", help="With --batch: how Φ is scaled: region, balanced or none.")
    ] = "region",
    seed: Annotated[int, typer.Option("--seed", help="With --batch: decides patches and rotations.")] = 0,
) -> None:
    """Draw a slice of a case, label map beside Φ; or a batch.

    Of a case: boundaries are white, as in Figure 1 of the paper. Of a batch: image, label boundaries and Φ
    of each patch, on the left as it lies in its volume, on the right as augmentation turns it.

    For example:

    \b
        dmapsvc view knees.zarr case_01 -o case_01.png --axis x --index 80
        dmapsvc view knees.zarr --batch 3 --patch 32,96,96 -o batch.png
    """
    if out.suffix.lower() != ".png":
        raise BadInput(f"-o {out}", "the picture is a PNG", "Name a .png file")
    if (case is None) == (batch is None):
        raise BadInput(
            "neither a case nor --batch" if case is None else f"case {case} and --batch {batch}",
            "one of them is drawn",
            f"`dmapsvc info {store}` lists the cases",
        )
    if case is None:
        _refuse(context, _OF_CASE, "with --batch", "a case")
    else:
        _refuse(context, _OF_BATCH, f"with case {case}", "--batch")
    with asked_dataset(store):
        if case is not None:
            png = _case_png(store, case, axis, index)
        else:
            drawn = BatchView(
                patches=batch or 0,
                sides=parse_sides(patch),
                scale=scale,  # type: ignore[arg-type]  # checked by the loader
                seed=seed,
                rotation=rotation,
            )
            png = batch_png(store, drawn)
    try:
        out.write_bytes(png)
    except OSError as error:
        raise BadInput(f"{out}: {error.strerror}", "wanted a place where a file can be written") from None
    typer.echo(str(out))


def _refuse(context: typer.Context, options: tuple[str, ...], beside: str, owner: str) -> None:
    """Raises BadInput for one of `options` that was given, which are for `owner`."""
    for option in options:
        source = context.get_parameter_source(option)
        if source is not None and source.name == "COMMANDLINE":
            raise BadInput(
                f"--{option} {context.params[option]} {beside}",
                f"--{option} is for {owner}",
                f"Leave --{option} out, or draw {owner}",
            )


def _case_png(store: str, case: str, axis: str | None, index: int | None) -> bytes:
    if axis is not None and axis not in ("z", "y", "x"):
        raise BadInput(f"--axis {axis!r}", "wanted z, y or x")
    from dmapsvc.figures import case_preview
    from dmapsvc.loader.source import open_dataset

    dataset = open_dataset(store, patience=0)
    return case_preview(dataset.case(case), "zyx".index(axis) if axis else None, index, dataset.names)
