"""What may take the place of what: masks by revision and wish, specs while nothing is published.

Only decisions; `dataset.py` asks for them within its locks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dmapsvc.errors import Conflict, Superseded, printable
from dmapsvc.spec import MapSpec
from dmapsvc.store.record import CaseRecord

Wanted = Callable[[], bool]
"""Whether a run is still wanted: not cancelled, and no newer one accepted."""


def check_allowed(
    case: str, record: CaseRecord, published: CaseRecord | None, *, replace: bool, wanted: Wanted
) -> None:
    """Raise Superseded or Conflict if `record` may not take the place of what is published."""
    if published and published.revision > record.revision:
        raise superseded(case, "mask")
    if published and published.mask_sha256 != record.mask_sha256 and not replace:
        raise Conflict(
            f"case {case!r} holds the map of mask {published.mask_sha256}",
            f"this mask is {record.mask_sha256}",
            "Ask for replace to put it in its place, or choose another case name",
        )
    if not wanted():
        raise superseded(case, "mask")


def same_map(record: CaseRecord, published: CaseRecord) -> bool:
    """Whether `published` is what `record` would publish."""
    return published.id == record.id and published.revision == record.revision


def check_spec(dataset: str, present: MapSpec, spec: MapSpec, *, used: bool) -> None:
    """Raise Conflict if a dataset of spec `present` is `used`, so that it cannot be given `spec`."""
    if used and present != spec:
        raise Conflict(
            f"dataset {dataset!r} has published cases with {printable(str(present))}",
            f"asked was {printable(str(spec))}",
            "Choose another dataset name, or delete this one",
        )


def check_vacant(path: Path) -> None:
    """Raise Conflict if anything but an empty folder lies at `path`."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise Conflict(
            f"{path.name}: something else is there", "wanted a dataset or nothing", "Choose another name"
        )


def superseded(case: str, what: str) -> Superseded:
    """The error for a mask or image (`what`) that came too late."""
    return Superseded(
        f"case {case!r}: this {what} is no longer wanted", "it was cancelled or a newer one came"
    )
