"""What the comparison says in words, no more than its numbers allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dmapsvc.report.comparison import Comparison, Contender
from dmapsvc.report.differences import Difference, Family
from dmapsvc.report.metrics import Metric
from dmapsvc.report.statistics import FEWEST, LEVEL, largest_rejected, smallest_p
from dmapsvc.report.tables import deviation, number


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is found of one metric: a sentence of who is ahead, and one a reference of what the tests say."""

    lead: str
    sentences: tuple[str, ...]


def findings(comparison: Comparison, families: Sequence[Family]) -> list[Finding]:
    """A finding for each family, which is of the mean over labels."""
    return [
        Finding(
            lead=_best(comparison, family),
            sentences=tuple(
                sentence
                for reference in comparison.references
                for sentence in _against(comparison, family, reference)
            ),
        )
        for family in families
    ]


def limits(comparison: Comparison, family: Family) -> list[str]:
    """What this design cannot show, and what was left out."""
    subjects, told = len(comparison.subjects), list(comparison.notes)
    if not family.differences:
        told.append("One contender: there is nothing to compare it with, and no test.")
    elif subjects < FEWEST:
        told.append(
            f"With {subjects} subject{'s' * (subjects > 1)} no p below {smallest_p(subjects):.3g} is "
            f"possible, so no test here can show a difference; a p below {LEVEL} takes {FEWEST} subjects."
        )
    elif family.smallest_p > LEVEL:
        told.append(
            f"With {subjects} subjects and {len(family.differences)} comparisons no corrected p below "
            f"{family.smallest_p:.3g} is possible. No test here can show a difference; name fewer references."
        )
    elif largest_rejected(subjects, LEVEL / len(family.differences)) == 0:
        told.append(
            f"With {subjects} subjects and {len(family.differences)} comparisons, a test is significant only "
            f"if some difference has one sign in all {subjects} subjects."
        )
    if any(len(contender.runs) == 1 for contender in comparison.contenders):
        told.append(
            "Contenders with one run: how much another run would change their scores cannot be told, "
            "and no test accounts for it."
        )
    return told


def _best(comparison: Comparison, family: Family) -> str:
    metric = family.metric
    means = [metric.better(float(c.subject_means(metric).mean())) for c in comparison.contenders]
    best = comparison.contenders[means.index(max(means))]
    word = "Lowest" if metric.distance else "Highest"
    if len(means) == 1:
        word = "Mean"
    mean = number(float(best.subject_means(metric).mean()), metric.factor)
    unit = comparison.unit_of(metric)
    spread = _spread(comparison, best, metric)
    return f"{word} {comparison.title_of(metric)}: {best.name}, {mean} {unit}{spread}."


def _spread(comparison: Comparison, contender: Contender, metric: Metric) -> str:
    """Both standard deviations, as far as there are: either alone looks surer than the number is."""
    subjects, runs = contender.subject_means(metric), contender.run_means(metric)
    parts = [
        f"over {values.size} {name} {number(spread, metric.factor)}"
        for values, name in ((subjects, "subjects"), (runs, "runs"))
        if (spread := deviation(values)) is not None
    ]
    return f" (SD {', '.join(parts)})" if parts else ""


def _against(comparison: Comparison, family: Family, reference: str) -> list[str]:
    """What the tests say of one reference, also where it stands second in a pair."""
    metric, groups = family.metric, dict[str, list[str]]()
    unresolved = []
    for found in family.differences:
        if reference not in (found.reference, found.other):
            continue
        other = found.other if found.reference == reference else found.reference
        sign = 1 if found.reference == reference else -1
        verdict = "not shown" if not found.significant else _side(metric.better(found.test.effect) * sign)
        groups.setdefault(verdict, []).append(other + "†" * (found.significant and found.within_runs))
        unresolved += [] if found.significant or found.detectable is None else [found.detectable]
    if not groups:
        return []
    parts = [f"{side} than {_list(groups[side])}" for side in ("better", "worse") if side in groups]
    if "not shown" in groups:
        parts.append(
            f"not shown to differ from {_list(groups['not shown'])}{_room(comparison, family, unresolved)}"
        )
    return [f"{reference} is {'; '.join(parts)}."]


def verdict(family: Family, found: Difference) -> str:
    """'better', 'worse' or 'not shown', of the pair's first; † where the choice of runs may have made it."""
    if not found.significant:
        return "not shown"
    return _side(family.metric.better(found.test.effect)) + "†" * found.within_runs


def _side(better: float) -> str:
    return "better" if better > 0 else "worse"


def _room(comparison: Comparison, family: Family, unresolved: Sequence[float]) -> str:
    if not unresolved:
        return ""
    unit = comparison.unit if family.metric.distance else "points"
    low, high = (number(value, family.metric.factor) for value in (min(unresolved), max(unresolved)))
    reach = low if low == high else f"{low} to {high}"
    return f" (differences under {reach} {unit} are too small for this design)"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]
