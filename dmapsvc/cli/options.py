"""The options and arguments that several commands share, and the text they are written in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dmapsvc.errors import BadInput, BadSpec
from dmapsvc.spec import Spacing

SERVER = "http://127.0.0.1:8000"

Server = Annotated[str, typer.Option("--server", envvar="DMAPSVC_SERVER", help="URL of the service.")]
Labels = Annotated[
    str | None,
    typer.Option("--labels", help="Values that are classes, like 5,6,7; left out: every non-zero value."),
]
Units = Annotated[str, typer.Option("--units", help="Unit of the distances: voxel or mm.")]
Names = Annotated[str | None, typer.Option("--names", help="Names of the labels, like 5=femur,6=tibia.")]
Images = Annotated[
    Path | None,
    typer.Option("--images", help="Folder of the images; each goes with the mask of the same name."),
]
SpacingText = Annotated[
    str | None,
    typer.Option("--spacing", help="Spacing z,y,x in mm of NumPy files, which have none themselves."),
]


def is_given(context: typer.Context, name: str) -> bool:
    """Whether the option `name` stands on the command line, and is not what it is by default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def parse_names(text: str | None) -> dict[int, str]:
    """{5: 'femur'} of '5=femur'; raises BadSpec."""
    names: dict[int, str] = {}
    for pair in (text or "").split(",") if text else ():
        value, equals, name = (part.strip() for part in pair.partition("="))
        if not (equals and name and value.isdigit()):
            raise BadSpec(f"--names {pair!r}", "wanted a label's value and its name, like 5=femur,6=tibia")
        names[int(value)] = name
    return names


def parse_spacing(text: str | None) -> Spacing | None:
    """(0.7, 0.36, 0.36) of '0.7,0.36,0.36'; raises BadSpec. What is in it, the reader checks."""
    if text is None:
        return None
    try:
        z, y, x = map(float, text.split(","))
    except ValueError:
        raise BadSpec(f"--spacing {text!r}", "wanted three numbers in mm: z,y,x") from None
    return z, y, x


def parse_shard(text: str | None) -> tuple[int, int] | None:
    """(2, 8) of '2/8'; raises BadInput. Whether there is such a shard, `shard_of` checks."""
    if text is None:
        return None
    try:
        number, count = map(int, text.split("/"))
    except ValueError:
        raise BadInput(f"--shard {text!r}", "wanted I/N, with I from 1 to N", "Like 2/8") from None
    return number, count


def parse_sides(text: str) -> tuple[int, int, int]:
    """(32, 64, 64) of '32,64,64'; raises BadInput."""
    try:
        z, y, x = map(int, text.split(","))
    except ValueError:
        raise BadInput(f"--patch {text!r}", "wanted three whole numbers of voxels: z,y,x") from None
    return z, y, x
