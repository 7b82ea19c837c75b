"""The three ways to read a volume: its header, its labels, or an image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from dmapsvc.errors import BadSpec
from dmapsvc.spec import Spacing
from dmapsvc.volumes.checks import check_header, check_spacing, image_of, labels_of
from dmapsvc.volumes.formats import open_stored
from dmapsvc.volumes.grid import GRID_TOLERANCE
from dmapsvc.volumes.source import Source, open_source
from dmapsvc.volumes.stored import Stored
from dmapsvc.volumes.volume import Header, Kind, Volume


def read_header(
    path: Path, *, name: str | None = None, kind: Kind = "labels", spacing: Spacing | None = None
) -> Header:
    """What a file's header says; no voxel is read or expanded.

    The content tells the format. `name` is what messages call the file (its own name if left out);
    `spacing`, (z, y, x) in mm, is for files that have none.

    Raises BadFile (BadLabels) for all that the header shows to be wrong, and BadSpec for a `spacing` that is
    not positive or contradicts the file.
    """
    with open_source(path, name) as source:
        return _open(source, kind, spacing).header


def read_labels(path: Path, *, name: str | None = None, spacing: Spacing | None = None) -> Volume:
    """A label map: (z, y, x), C order, in the smallest unsigned type that holds its largest label.

    Raises what `read_header` raises, BadFile for a body that is truncated or goes on for longer than the
    header says, and BadLabels for voxels that are no labels.
    """
    with open_source(path, name) as source:
        stored = _open(source, "labels", spacing)
        return Volume(header=stored.header, array=labels_of(stored, source.name))


def read_image(path: Path, *, name: str | None = None, spacing: Spacing | None = None) -> Volume:
    """An image: (z, y, x), or (c, z, y, x) with several channels, in the file's own type.

    Raises what `read_header` raises, and BadFile for a truncated body and for NaN and infinite voxels.
    """
    with open_source(path, name) as source:
        stored = _open(source, "image", spacing)
        return Volume(header=stored.header, array=image_of(stored, source.name))


def _open(source: Source, kind: Kind, spacing: Spacing | None) -> Stored:
    stored = open_stored(source, kind)
    check_header(stored.header, kind, source.name)
    if spacing is None:
        return stored
    given, own = check_spacing(spacing), stored.header.spacing
    if own is None:
        return replace(stored, header=replace(stored.header, spacing=given))
    if not np.allclose(own, given, rtol=GRID_TOLERANCE, atol=0):
        raise BadSpec(
            f"{source.name}: its spacing is {own} mm, and {given} was given",
            "a spacing is given for files that have none",
            "Leave it out",
        )
    return stored
