"""Scores summed up: the mean and the standard deviation over cases, by label and over all labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dmapsvc.errors import BadInput
from dmapsvc.evaluate.scores import Score

MEAN = "mean"  # what the row over all labels is called
IN_UNITS = ("nsd", "hd95", "asd")
"""Measures whose numbers, or whose tolerance, are in the unit of their score."""


@dataclass(frozen=True, kw_only=True)
class Average:
    """`mean` and `deviation` over `cases`, by the names of `Measures`; of the label called `name`, or `MEAN`.

    The deviation is that of a sample (divided by n − 1), 0 of a single case. In the row `MEAN`, a case counts
    with the mean of its labels.
    """

    name: str
    cases: int
    mean: dict[str, float]
    deviation: dict[str, float]


def averages(scores: Sequence[Score], measures: Sequence[str]) -> list[Average]:
    """A row for each label, in their order, and one over all of them if there are several; of `measures`.

    Raises BadInput for measures `IN_UNITS` of scores in mm and others in voxels, which have no mean.
    """
    if len({score.unit for score in scores}) > 1 and (
        mixed := [name for name in measures if name in IN_UNITS]
    ):
        raise BadInput(
            f"{', '.join(mixed)} of scores in mm and of others in voxels",
            "a mean is of one unit",
            "Evaluate with --units voxel (`units` in Python)",
        )
    labels = {score.label: score.name for score in scores}
    rows = [
        _average(name, [[score] for score in scores if score.label == label], measures)
        for label, name in sorted(labels.items())
    ]
    if len(rows) > 1:
        by_case: dict[str, list[Score]] = {}
        for score in scores:
            by_case.setdefault(score.case, []).append(score)
        rows.append(_average(MEAN, list(by_case.values()), measures))
    return rows


def _average(name: str, cases: Sequence[Sequence[Score]], measures: Sequence[str]) -> Average:
    table = np.array(
        [
            np.mean([[getattr(score, measure) for measure in measures] for score in case], axis=0)
            for case in cases
        ]
    )
    deviation = table.std(axis=0, ddof=1) if len(table) > 1 else np.zeros(len(measures))
    return Average(
        name=name,
        cases=len(cases),
        mean=dict(zip(measures, table.mean(axis=0).tolist(), strict=True)),
        deviation=dict(zip(measures, deviation.tolist(), strict=True)),
    )
