"""What of a case is published, or held, from just these files already, so that it need not be done again."""

from __future__ import annotations

import numpy as np

from dmapsvc.errors import Conflict, Damaged
from dmapsvc.spec import Spacing, map_id
from dmapsvc.store import CaseRecord, WritableDataset


def published_case(dataset: WritableDataset, case: str, *, replace: bool) -> CaseRecord | None:
    """The record of `case` if it is published; with `replace` a damaged case counts as none, else Damaged."""
    try:
        return dataset.record(case)
    except Damaged:
        if replace:
            return None
        raise


def is_mapped(
    dataset: WritableDataset,
    case: str,
    published: CaseRecord | None,
    *,
    sha256: str,
    spacing: Spacing | None,
    name: str,
    replace: bool,
) -> bool:
    """Whether `published` is the map of the mask with this hash, and, if it might be replaced, whole.

    Raises Conflict if it is another's and not to be replaced; `name` is what it calls the mask.
    """
    if published is None:
        return False
    same = published.id == map_id(dataset=dataset.name, case=case, mask_sha256=sha256, spec=dataset.spec)
    if same and _has_spacing(published, spacing):
        return not (replace and not dataset.is_sound(case))
    if replace:
        return False
    raise Conflict(
        f"{name}: case {case} is published from another mask (sha256 {published.mask_sha256})",
        f"this one is {sha256}" if sha256 != published.mask_sha256 else "this one has another spacing",
        "Replace it (--replace), or give this mask another name",
    )


def has_image(dataset: WritableDataset, case: str, published: CaseRecord | None, *, sha256: str) -> bool:
    """Whether the image with this hash is published with its case, or held until the mask is."""
    image = dataset.held_image(case) if published is None else published.image
    return image is not None and image.sha256 == sha256


def _has_spacing(published: CaseRecord, given: Spacing | None) -> bool:
    """Whether a given spacing is the published one; the hash of the file does not say."""
    there = published.spacing
    return given is None or there is None or bool(np.allclose(given, there))
