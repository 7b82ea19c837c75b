"""The report's tables: numbers as a page writes them, and rows for CSV files. Nothing is drawn here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from dmapsvc.region import Scale
from dmapsvc.report.comparison import Comparison, Contender, Floats
from dmapsvc.report.differences import Difference, Family
from dmapsvc.report.metrics import METRICS, MINUS, Metric
from dmapsvc.report.paper import NUMBERS

_NONE = "\N{EN DASH}"  # where there is no number

_PLACES = ("location", "out", "split")  # settings that say where, not what
_SCALES = get_args(Scale)
_PENALTY = "penalty"  # what the names of the losses with Φ in them begin with

Row = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A score as it is written: mean, SD over subjects, SD over runs, the paper's, and whether it is best."""

    mean: str
    subjects: str
    runs: str
    paper: str
    best: bool


def cell(comparison: Comparison, contender: Contender, metric: Metric, label: int | None) -> Cell:
    """A contender's score in one row; SDs with n - 1, `–` where there is one value."""
    means = [metric.better(float(c.subject_means(metric, label).mean())) for c in comparison.contenders]
    values = contender.subject_means(metric, label)
    paper = NUMBERS.get(contender.name, {}).get(metric.key) if label is None else None
    return Cell(
        mean=number(float(values.mean()) * metric.factor),
        subjects=number(deviation(values), metric.factor),
        runs=number(deviation(contender.run_means(metric, label)), metric.factor),
        paper="" if paper is None else f"{paper.mean:.2f} ± {paper.deviation:.2f}",
        best=len(means) > 1 and metric.better(float(values.mean())) == max(means),
    )


def deviation(values: Floats) -> float | None:
    """The standard deviation (n - 1); None of a single value."""
    return float(values.std(ddof=1)) if values.size > 1 else None


def number(value: float | None, factor: float = 1.0) -> str:
    """Two decimals, with a real minus sign; what rounds to 0 has none."""
    return _NONE if value is None else f"{value * factor:z.2f}".replace("-", MINUS)


def signed(value: float | None, factor: float = 1.0) -> str:
    """As `number`, with a + where it is above 0."""
    return _NONE if value is None else f"{value * factor:+z.2f}".replace("-", MINUS).replace("+0.00", "0.00")


def p_value(p: float) -> str:
    """Four decimals, or that it is smaller."""
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"


def mean_rows(comparison: Comparison) -> Iterable[Row]:
    """A row a contender, label and metric: mean and SDs, in percent or the unit of distances."""
    for contender in comparison.contenders:
        for label, row in comparison.rows:
            for metric in METRICS:
                values, runs = contender.subject_means(metric, label), contender.run_means(metric, label)
                paper = NUMBERS.get(contender.name, {}).get(metric.key) if row == "mean" else None
                yield {
                    "contender": contender.name,
                    "label": row,
                    "metric": comparison.title_of(metric),
                    "unit": comparison.unit_of(metric),
                    "mean": _scaled(float(values.mean()), metric),
                    "sd_subjects": _scaled(deviation(values), metric),
                    "sd_runs": _scaled(deviation(runs), metric),
                    "subjects": values.size,
                    "runs": runs.size,
                    "paper_mean": "" if paper is None else paper.mean,
                    "paper_sd": "" if paper is None else paper.deviation,
                }


def subject_rows(comparison: Comparison) -> Iterable[Row]:
    """A row a contender, label and subject: each metric's mean over the runs, what tests and boxes are of."""
    for contender in comparison.contenders:
        for label, row in comparison.rows:
            columns = {metric: contender.subject_means(metric, label) for metric in METRICS}
            for place, subject in enumerate(comparison.subjects):
                scores = {
                    f"{metric.key} ({comparison.unit_of(metric)})": _scaled(float(values[place]), metric)
                    for metric, values in columns.items()
                }
                yield {"contender": contender.name, "label": row, "subject": subject, **scores}


def difference_rows(comparison: Comparison, families: Iterable[Family]) -> Iterable[Row]:
    """A row a test, differences in percentage points or the unit of distances."""
    for family in families:
        for found in family.differences:
            yield {
                "metric": comparison.title_of(family.metric),
                "label": family.row,
                "reference": found.reference,
                "other": found.other,
                "unit": comparison.unit_of(family.metric),
                "better": "above 0" if family.metric.better(1) > 0 else "below 0",
                **_numbers(found, family.metric),
                "comparisons": len(family.differences),
            }


def settings_table(comparison: Comparison) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Settings that all runs share, and by contender those that differ; a contender's values are joined.

    Places on somebody's machine are left out, and how Φ is scaled where the loss has no Φ.
    """
    joined = {
        contender.name: _joined([_told(run.settings) for run in contender.runs])
        for contender in comparison.contenders
    }
    names = dict.fromkeys(name for settings in joined.values() for name in settings)
    shared = {
        name: values.pop()
        for name in names
        if len(values := {settings.get(name, _NONE) for settings in joined.values()}) == 1
    }
    rest = [name for name in names if name not in shared]
    differing = {
        contender: {name: settings.get(name, _NONE) for name in rest}
        for contender, settings in joined.items()
    }
    return shared, differing if rest else {}


def _numbers(found: Difference, metric: Metric) -> Row:
    test = found.test
    return {
        "mean_difference": _scaled(test.mean, metric),
        "sd_difference": _scaled(test.deviation, metric),
        "hodges_lehmann": _scaled(test.shift, metric),
        "ci95_low": _scaled(None if test.interval is None else test.interval.low, metric),
        "ci95_high": _scaled(None if test.interval is None else test.interval.high, metric),
        "subjects": test.subjects,
        "above": test.above,
        "below": test.below,
        "rank_biserial": round(test.effect, 4),
        "p": test.p,
        "p_holm": found.p,
        "se_runs": _scaled(None if found.runs_error is None else found.runs_error.error, metric),
        "smallest_found_80": _scaled(found.detectable, metric),
    }


def _scaled(value: float | None, metric: Metric) -> object:
    return "" if value is None else round(value * metric.factor, 6)


def _told(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that say what was done."""
    left_out = set(_PLACES)
    if settings.get("scale") in _SCALES and not str(settings.get("loss", _PENALTY)).startswith(_PENALTY):
        left_out.add("scale")
    return {name: value for name, value in settings.items() if name not in left_out}


def _joined(settings: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Each setting's values over the runs, once each, in their order."""
    found: dict[str, dict[str, None]] = {}
    for one in settings:
        for name, value in one.items():
            found.setdefault(name, {})[_word(value)] = None
    return {name: ", ".join(values) for name, values in found.items()}


def _word(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
