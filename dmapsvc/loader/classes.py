"""The classes of a network: which label of a dataset is which class index.

Class 0 is the background. The list is made once, when training starts, and travels frozen with the
checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable

from dmapsvc.errors import BadLabels, NotFound
from dmapsvc.spec import MapSpec
from dmapsvc.store import CaseRecord

Classes = tuple[int, ...]
"""The label of each class; the first is 0, the background."""


def dataset_classes(spec: MapSpec, records: Iterable[CaseRecord]) -> Classes:
    """0, then the spec's labels in their order, or every label of the cases of `records`, sorted.

    Raises NotFound if there is none.
    """
    if spec.labels is not None:
        return (0, *spec.labels)
    found = {region.value for record in records for region in record.regions} - {0}
    if not found:
        raise NotFound(
            "no case has a label", "a class besides the background is needed", "Publish another mask"
        )
    return (0, *sorted(found))


def check_classes(case: str, record: CaseRecord, classes: Classes) -> None:
    """Raises BadLabels, naming the case, if it has a region that is no class."""
    unknown = sorted({region.value for region in record.regions} - set(classes))
    if unknown:
        raise BadLabels(
            f"case {case!r} has label {unknown[0]}",
            f"the classes are frozen as {', '.join(map(str, classes))}",
            "Train anew to take it in, or make the dataset with a list of labels",
        )
