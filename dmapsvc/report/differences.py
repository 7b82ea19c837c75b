"""The reference contenders against all others: one paired test a pair, corrected within its family.

A family is all pairs of one metric in one row: the mean over labels, or one label. Metrics are not corrected
for one another.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from dmapsvc.report.comparison import Comparison
from dmapsvc.report.metrics import Metric
from dmapsvc.report.statistics import (
    LEVEL,
    PairedTest,
    RunsError,
    detectable_effect,
    holm,
    paired_test,
    runs_error,
    smallest_p,
)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """`reference` minus `other`, subject by subject, in the metric's own unit (shares as 0 to 1).

    `p` is `test.p` corrected by Holm within the family. `runs_error`: what the choice of runs alone does to
    the mean difference, None with a single run. `detectable`: the smallest true mean difference that the
    first, strictest step of Holm would find with 80 % power, given the deviation of the differences seen;
    None where no difference could be found, or the differences are all the same.
    """

    reference: str
    other: str
    test: PairedTest
    p: float
    runs_error: RunsError | None
    detectable: float | None

    @property
    def significant(self) -> bool:
        """Whether the corrected p is below 0.05."""
        return self.p < LEVEL

    @property
    def within_runs(self) -> bool:
        """Whether the choice of runs alone may have made the mean difference: 0 is within its reach."""
        return self.runs_error is not None and abs(self.test.mean) < self.runs_error.reach


@dataclass(frozen=True, kw_only=True)
class Family:
    """All pairs of one metric in one row; `label` is the label's place, None for the mean over labels."""

    metric: Metric
    label: int | None
    row: str
    differences: tuple[Difference, ...]

    @property
    def smallest_p(self) -> float:
        """The smallest corrected p that the number of subjects allows."""
        return min(1.0, smallest_p(self.differences[0].test.subjects) * len(self.differences))


def pairs(comparison: Comparison) -> list[tuple[int, int]]:
    """Places of reference and other: every reference with every contender that is none.

    Where all are references, every two of them: there is nothing else to compare.
    """
    references, contenders = range(len(comparison.references)), range(len(comparison.contenders))
    if len(references) == len(contenders):
        return list(combinations(contenders, 2))
    return [(i, j) for i in references for j in contenders[len(references) :]]


def family(comparison: Comparison, metric: Metric, label: int | None, row: str) -> Family:
    """The family of `metric` in one row; without a difference if there is one contender."""
    chosen = [(comparison.contenders[i], comparison.contenders[j]) for i, j in pairs(comparison)]
    tests = [
        paired_test(first.subject_means(metric, label) - second.subject_means(metric, label))
        for first, second in chosen
    ]
    effect = detectable_effect(len(comparison.subjects), LEVEL / len(chosen)) if chosen else None
    return Family(
        metric=metric,
        label=label,
        row=row,
        differences=tuple(
            Difference(
                reference=first.name,
                other=second.name,
                test=test,
                p=p,
                runs_error=runs_error(first.run_means(metric, label), second.run_means(metric, label)),
                detectable=effect * test.deviation if effect and test.deviation else None,
            )
            for (first, second), test, p in zip(chosen, tests, holm([test.p for test in tests]), strict=True)
        ),
    )
