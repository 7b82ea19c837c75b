"""Which spec an upload is mapped by: what was asked for, what the dataset has, and whether they agree."""

from __future__ import annotations

from dmapsvc.errors import BadSpec, Conflict, printable
from dmapsvc.jobs import Kind
from dmapsvc.jobs.engine import Jobs
from dmapsvc.spec import MapSpec, Spacing
from dmapsvc.store import WritableDataset


def chosen_spec(
    dataset: WritableDataset | None, labels: str | None, units: str | None, jobs: Jobs
) -> MapSpec:
    """The spec of `dataset` with what was asked for, `labels` like '5,6,7' and `units`, in place of its own.

    Without a dataset the rest is MapSpec's defaults. Raises BadSpec for what can be no spec, and Conflict
    where the dataset has another, unless it was given none (the defaults) and `is_unused`.
    """
    own = MapSpec() if dataset is None else dataset.spec
    asked = MapSpec.parse(labels, units or own.units)
    spec = asked if labels is not None else MapSpec(labels=own.labels, units=asked.units)
    if dataset is not None and spec != own and not (own == MapSpec() and is_unused(dataset, jobs)):
        raise spec_conflict(dataset, spec)
    return spec


def is_unused(dataset: WritableDataset, jobs: Jobs) -> bool:
    """Whether nothing is published, and nothing is being made, under the spec of `dataset`."""
    return not jobs.has_live(dataset.name, Kind.MASK) and dataset.is_empty()


def spec_conflict(dataset: WritableDataset, asked: MapSpec) -> Conflict:
    """That `dataset` has another spec than was `asked` for."""
    return Conflict(
        f"dataset {dataset.name!r} has {printable(str(dataset.spec))}, asked was {printable(str(asked))}",
        "a dataset has one spec",
        "Leave labels and units out, or use another dataset",
    )


def parse_spacing(text: str | None) -> Spacing | None:
    """'0.7,0.36,0.36' as (z, y, x) in mm; raises BadSpec for what is not three numbers."""
    if text is None:
        return None
    try:
        z, y, x = (float(part) for part in text.split(","))
    except ValueError:
        raise BadSpec(
            f"spacing {text[:60]!r}", "wanted three lengths in mm, z,y,x", "Like 0.7,0.36,0.36"
        ) from None
    return z, y, x
