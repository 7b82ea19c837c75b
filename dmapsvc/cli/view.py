"""`dmapsvc view`: a slice of a case as a picture, the label map beside Φ."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dmapsvc.cli.served import asked_dataset
from dmapsvc.errors import BadInput


def command(
    store: Annotated[str, typer.Argument(metavar="STORE|URL", help="A local dataset, or its URL.")],
    case: Annotated[str, typer.Argument(metavar="CASE", help="The case.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The PNG file.")],
    axis: Annotated[
        str | None, typer.Option("--axis", help="Axis that is cut: z, y or x; left out: the coarsest.")
    ] = None,
    index: Annotated[
        int | None, typer.Option("--index", help="Slice; left out: the one with the most labelled voxels.")
    ] = None,
) -> None:
    """Draw a slice of a case, label map beside Φ.

    Boundaries are white, as in Figure 1 of the paper.

    For example:

    \b
        dmapsvc view knees.zarr case_01 -o case_01.png --axis x --index 80
    """
    if out.suffix.lower() != ".png":
        raise BadInput(f"-o {out}", "the picture is a PNG", "Name a .png file")
    if axis is not None and axis not in ("z", "y", "x"):
        raise BadInput(f"--axis {axis!r}", "wanted z, y or x")
    from dmapsvc.figures import case_preview
    from dmapsvc.loader.source import open_dataset

    with asked_dataset(store):
        dataset = open_dataset(store)
    png = case_preview(dataset.case(case), "zyx".index(axis) if axis else None, index, dataset.names)
    try:
        out.write_bytes(png)
    except OSError as error:
        raise BadInput(f"{out}: {error.strerror}", "wanted a place where a file can be written") from None
    typer.echo(str(out))
