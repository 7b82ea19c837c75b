"""The statistics of a paired comparison: pure functions of one difference a subject. Nothing of files here.

Every test is the Wilcoxon signed-rank test (Wilcoxon 1945), exact whatever the ties. A subject counts once:
whoever calls has taken the mean over runs before, so that repeated runs do not pass for more subjects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata, t

LEVEL = 0.05  # two-sided, of the tests; the intervals hold 1 - LEVEL
POWER = 0.8  # that the smallest detectable difference is stated for
FEWEST = 6  # subjects with which an exact two-sided p can be below 0.05: 2 / 2**6 = 0.031

Floats = NDArray[np.float64]

_DRAWS = 20_000  # simulated experiments: the 80th percentile of their differences is within 1 %
_FEWEST_DRAWS = 1_000
_MOST_AVERAGES = 20_000_000  # Walsh averages in a simulation: some seconds


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A range of differences, both ends in it."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """What n paired differences say.

    `mean` and `deviation` (n - 1) of the differences; `shift` is the Hodges-Lehmann estimate and `interval`
    its 95 % confidence interval, None with fewer than six subjects; `effect` is the matched-pairs
    rank-biserial correlation, -1 to 1; `p` is two-sided and not corrected. `above` and `below`: subjects with
    a difference over and under 0.
    """

    subjects: int
    mean: float
    deviation: float
    shift: float
    interval: Interval | None
    effect: float
    p: float
    above: int
    below: int


@dataclass(frozen=True, kw_only=True)
class RunsError:
    """How far the choice of runs alone moves a mean difference: its standard `error`, and the `reach` to
    either side of its 95 % interval (Student's t: with five runs each, 2.3 to 2.8 standard errors).
    """

    error: float
    reach: float


def paired_test(differences: ArrayLike) -> PairedTest:
    """The Wilcoxon test of `differences` (n,) from 0, and the estimates that belong to it.

    Differences of exactly 0 count as subjects and are left out of the ranks (Wilcoxon's own way). The
    interval has equal tails and is that of the test with all differences unequal.
    Raises ValueError if there is none, or one that is not finite.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise ValueError("wanted one finite difference a subject")
    averages = walsh_averages(values)
    return PairedTest(
        subjects=values.size,
        mean=float(values.mean()),
        deviation=float(values.std(ddof=1)) if values.size > 1 else 0.0,
        shift=float(np.median(averages)),
        interval=_interval(averages, values.size),
        effect=rank_biserial(values),
        p=wilcoxon_p(values),
        above=int((values > 0).sum()),
        below=int((values < 0).sum()),
    )


def wilcoxon_p(differences: ArrayLike) -> float:
    """The exact two-sided p of the signed-rank test of `differences` (n,): 1 where all of them are 0.

    The null distribution is that of the ranks as they are, mean ranks where values tie, so that it is exact
    with ties too.
    """
    doubled, signs = _doubled_ranks(differences)
    chances = _sum_chances(doubled)
    above = int(doubled[signs > 0].sum())
    lower, upper = chances[: above + 1].sum(), chances[above:].sum()
    return float(min(1.0, 2 * min(lower, upper)))


def rank_biserial(differences: ArrayLike) -> float:
    """(W+ - W-) / (W+ + W-), the matched-pairs rank-biserial correlation (Kerby 2014); 0 where all are 0."""
    doubled, signs = _doubled_ranks(differences)
    return float((doubled * signs).sum() / doubled.sum()) if doubled.size else 0.0


def walsh_averages(values: Floats) -> Floats:
    """The means of all pairs of `values` (n,), each with itself too: (n (n + 1) / 2,), ascending.

    Their median is the Hodges-Lehmann estimate (Hodges and Lehmann 1963), their order statistics the ends of
    its interval.
    """
    first, second = np.triu_indices(values.size)
    return np.sort((values[first] + values[second]) / 2)


def holm(ps: Sequence[float]) -> list[float]:
    """`ps` corrected for their number by Holm's step-down method (Holm 1979), in the order given."""
    order = np.argsort(ps, kind="stable")
    steps = np.maximum.accumulate(np.asarray(ps)[order] * np.arange(len(ps), 0, -1))
    corrected = np.empty(len(ps))
    corrected[order] = np.minimum(steps, 1.0)
    return [float(p) for p in corrected]


def smallest_p(subjects: int) -> float:
    """The smallest two-sided p that the exact test of so many subjects can give: 2 / 2**n."""
    return float(min(1.0, 2.0 ** (1 - subjects)))


@cache
def largest_rejected(subjects: int, level: float = LEVEL) -> int | None:
    """The largest rank sum, of the smaller side, that the two-sided test at `level` rejects, untied.

    0: only differences that all have one sign are rejected; None: no differences are.
    """
    cumulated = np.cumsum(_sum_chances(np.arange(1, subjects + 1)))
    count = int(np.searchsorted(cumulated, level / 2 + 1e-12, side="right"))
    return count - 1 if count else None


@cache
def detectable_effect(subjects: int, level: float = LEVEL, power: float = POWER) -> float | None:
    """The smallest true mean difference, in standard deviations of the differences, that the exact two-sided
    test at `level` finds with probability `power`, its sign right; None where no p can be so small.

    Differences are taken to be normal. W- is the number of Walsh averages below 0, so with c the largest W-
    that is rejected, an experiment is found significant once its shift lifts the (c + 1)-th smallest Walsh
    average above 0. The shift that suffices in a share `power` of 20,000 simulated experiments (fewer of more
    than 44 subjects, no less than 1,000) is what is returned; the same arguments give the same number.
    """
    margin = largest_rejected(subjects, level)
    if margin is None:
        return None
    pairs = subjects * (subjects + 1) // 2
    draws = min(_DRAWS, max(_FEWEST_DRAWS, _MOST_AVERAGES // pairs))
    random, first, second = np.random.default_rng(0), *np.triu_indices(subjects)
    needed = []
    for _ in range(draws):
        sample = random.standard_normal(subjects)
        needed.append(-np.partition(sample[first] + sample[second], margin)[margin] / 2)
    return float(np.quantile(needed, power))


def runs_error(first: ArrayLike, second: ArrayLike) -> RunsError | None:
    """What the choice of runs alone does to the difference of two means over runs (Welch 1947).

    Both hold a number a run; the runs are taken as independent. None where one of them has fewer than two.
    """
    groups = [np.asarray(values, dtype=np.float64) for values in (first, second)]
    if any(group.size < 2 for group in groups):
        return None
    squares = np.array([group.var(ddof=1) / group.size for group in groups])
    error = float(np.sqrt(squares.sum()))
    if not error:
        return RunsError(error=0.0, reach=0.0)
    freedom = squares.sum() ** 2 / sum(squares**2 / [group.size - 1 for group in groups])
    return RunsError(error=error, reach=error * float(t.ppf(1 - LEVEL / 2, freedom)))


def _doubled_ranks(differences: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Twice the mean ranks of the sizes of the differences that are not 0, and their signs."""
    values = np.asarray(differences, dtype=np.float64)
    values = values[values != 0]
    return np.rint(2 * rankdata(np.abs(values))).astype(np.int64), np.sign(values).astype(np.int64)


def _sum_chances(ranks: NDArray[np.int64]) -> Floats:
    """The chance of each sum, 0 to the largest, of `ranks` of which each is in it or not, as a coin falls."""
    chances = np.zeros(int(ranks.sum()) + 1)
    chances[0] = 1.0
    for rank in ranks.tolist():
        chances[rank:] = (chances[rank:] + chances[: chances.size - rank]) / 2
        chances[:rank] /= 2
    return chances


def _interval(averages: Floats, subjects: int) -> Interval | None:
    margin = largest_rejected(subjects, LEVEL)
    if margin is None:
        return None
    return Interval(low=float(averages[margin]), high=float(averages[-margin - 1]))
