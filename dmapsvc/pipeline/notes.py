"""Words about what is odd in a volume and accepted all the same; they travel with the job and are printed.

One short sentence each. What is refused is an error of volumes or maps, not a note.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmapsvc.quantised import QuantisedMap
from dmapsvc.volumes import Header

_SHOWN = 8  # labels a note lists by value; a whole-body mask can have dozens of thin ones
_OBLIQUE = 1e-3  # direction cosine off the nearest axis, above which a frame is called oblique


def mask_notes(header: Header, labels: NDArray[Any], phi: QuantisedMap) -> tuple[str, ...]:
    """What a user may not expect of this mask, `labels`, and its map, a sentence each; empty for an ordinary
    one.
    """
    return (*_region_notes(labels, phi), *_grid_notes(header), *phi.notes)


def image_notes(published: bool) -> tuple[str, ...]:
    """What a user may not expect of a stored image."""
    if published:
        return ()
    return ("The image came before its mask: it is kept, and joins the case when the mask is published.",)


def _region_notes(labels: NDArray[Any], phi: QuantisedMap) -> Iterator[str]:
    if phi.absent:
        there = any(region.value for region in phi.regions)
        instead = "" if there else f", which has {_other(labels)}"
        yield f"{_labels(phi.absent)} {_is(phi.absent)} not in the mask{instead}."
    whole = next((region for region in phi.regions if region.degenerate), None)
    if whole is not None:
        what = "background" if whole.value == 0 else f"label {whole.value}"
        yield f"The whole mask is {what}: it has no boundary, so Φ is 0 everywhere."
        return
    thin = [region.value for region in phi.regions if region.mean_phi == 0]
    if 0 in thin:
        yield "The background is at most two voxels thick everywhere, so Φ is 0 on it."
    if classes := [value for value in thin if value]:
        yield f"{_labels(classes)} {_is(classes)} at most two voxels thick everywhere, so Φ is 0 there."


def _grid_notes(header: Header) -> Iterator[str]:
    single = [axis for axis, size in zip("zyx", header.shape, strict=True) if size == 1]
    if single:
        axes = f"Axis {single[0]} has" if len(single) == 1 else f"Axes {' and '.join(single)} have"
        yield f"{axes} a single voxel: distances run along the others only."
    if header.format == "DICOM-SEG":
        yield (
            "The grid of a DICOM-SEG is the planes that it has: a label on the first or the last of them has "
            "no boundary there, even if the writer left out empty planes beyond."
        )
    if header.spacing is None:
        yield "The file has no spacing: it is kept as a grid of 1 mm voxels."
    if header.affine is not None and _is_oblique(header):
        yield "The grid lies oblique in space: voxels and affine are kept as they are, nothing is resampled."


def _is_oblique(header: Header) -> bool:
    assert header.affine is not None
    axes = header.affine[:3, :3]
    cosines = np.abs(axes / np.linalg.norm(axes, axis=0))
    return bool(np.any(np.sort(cosines, axis=0)[:2] > _OBLIQUE))


def _other(labels: NDArray[Any]) -> str:
    """The labels that a mask has, in words."""
    values = [int(value) for value in np.unique(labels) if value]
    return _listed(values) if values else "none at all"


def _labels(values: Sequence[int]) -> str:
    return f"{'Label' if len(values) == 1 else 'Labels'} {_listed(values)}"


def _listed(values: Sequence[int]) -> str:
    shown = [str(value) for value in values[:_SHOWN]]
    if len(values) > _SHOWN:
        shown.append(f"{len(values) - _SHOWN} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _is(values: Sequence[int]) -> str:
    return "is" if len(values) == 1 else "are"
