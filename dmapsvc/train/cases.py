"""The cases of a training: which are on which side, and whether they will do, seen before anything starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dmapsvc.errors import NotFound
from dmapsvc.listing import first_few
from dmapsvc.loader.classes import Classes, check_classes, dataset_classes
from dmapsvc.loader.remote.together import READERS, together
from dmapsvc.loader.source import CaseSource
from dmapsvc.store import CaseRecord
from dmapsvc.train.settings import TrainSettings
from dmapsvc.train.split import Split, chosen_split


@dataclass(frozen=True, kw_only=True)
class Cases:
    """`split`: the cases by side; `classes`: the label of each class, 0 first; `voxels`: how many the
    training cases have of each class.
    """

    split: Split
    classes: Classes
    voxels: tuple[int, ...]


def choose_cases(settings: TrainSettings, source: CaseSource, *, kept: Path, frozen: Classes | None) -> Cases:
    """The cases of `source` for a training; `kept` is its split file, `frozen` its classes if it has begun.

    Raises what `chosen_split` raises; NotFound for a dataset without cases, and, naming the first, if some
    have no image; BadLabels for a case with a label outside the classes.
    """
    published = source.cases()
    if not published:
        raise NotFound(f"{source.name}: no case is published", remedy="Publish masks and their images first")
    split = chosen_split(settings, published, kept)
    names = [*split.train, *split.valid, *split.test]
    records = dict(zip(names, together(source.record, names, READERS), strict=True))
    _check_images(records, source.name)
    classes = dataset_classes(source.spec, records.values()) if frozen is None else frozen
    for name, record in records.items():
        check_classes(name, record, classes)
    voxels = _count_voxels((records[name] for name in split.train), classes)
    return Cases(split=split, classes=classes, voxels=voxels)


def _check_images(records: Mapping[str, CaseRecord], dataset: str) -> None:
    without = sorted(name for name, record in records.items() if record.image is None)
    if not without:
        return
    raise NotFound(
        f"{dataset}: {len(without)} of {len(records)} cases have no image: {first_few(without)}",
        "training needs one of each",
        "Add them with `dmapsvc precompute --images` or `dmapsvc submit --images`, "
        "or give a split of the other cases",
    )


def _count_voxels(records: Iterable[CaseRecord], classes: Classes) -> tuple[int, ...]:
    counts = dict.fromkeys(classes, 0)
    for record in records:
        for region in record.regions:
            counts[region.value] += region.voxels
    return tuple(counts.values())
