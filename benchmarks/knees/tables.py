"""The tables of docs/knee-benchmark.md, as Markdown, from what a comparison left. Pure functions: no file.

How a number is written, and every test, is `dmapsvc.report`'s.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from dmapsvc.evaluate.scores import Score
from dmapsvc.report.comparison import Comparison, Contender, Floats, Run
from dmapsvc.report.differences import Difference, family
from dmapsvc.report.metrics import B_DSC, G_DSC, METRICS, Metric
from dmapsvc.report.tables import cell, number, p_value, settings_table, signed

_NONE = "\N{EN DASH}"  # where there is no number
_MACHINE = ("location", "out", "split", "threads", "seed")  # of the settings: where, and which run it is


def anatomies(told: Mapping[str, Any]) -> str:
    """The document's first line: whether test and training subjects share anatomies.

    `told`: what subjects.json holds.
    """
    kinds = len(set(told["anatomies"].values()))
    if told["shares_anatomies"]:
        return f"**Test subjects are made of anatomies that training subjects are made of, too: of {kinds}.**"
    subjects = len(told["anatomies"])
    if kinds == subjects:
        return f"The {subjects} subjects have {kinds} anatomies: no two share one."
    return (
        f"The {subjects} subjects are made of {kinds} anatomies: no test subject of one that a training "
        "subject is made of."
    )


def bones(comparison: Comparison) -> str:
    """B-DSC and G-DSC by bone and their mean: mean ± SD over subjects of each subject's mean over seeds."""
    columns = [(metric, label, row) for metric in (B_DSC, G_DSC) for label, row in comparison.rows]
    head = ["%", *(f"{metric.title}, {row}" for metric, _, row in columns), "seed SD of B-DSC"]
    return _table(
        head,
        (
            [
                contender.name,
                *(_score(comparison, contender, metric, label) for metric, label, _ in columns),
                cell(comparison, contender, B_DSC, None).runs,
            ]
            for contender in comparison.contenders
        ),
    )


def metrics(comparison: Comparison) -> str:
    """Every metric, the mean over bones, and the paper's numbers."""
    columns = [f"{metric.title} ({comparison.unit_of(metric)})" for metric in METRICS]
    return _table(
        ["", *columns, "paper: G-DSC", "paper: B-DSC"],
        (
            [
                contender.name,
                *(_score(comparison, contender, metric, None) for metric in METRICS),
                *(cell(comparison, contender, metric, None).paper for metric in (G_DSC, B_DSC)),
            ]
            for contender in comparison.contenders
        ),
    )


def tests(comparison: Comparison, metric: Metric) -> str:
    """The penalties against every baseline: paired tests of the mean over bones, Holm-corrected.

    † where the choice of seeds alone may have made a difference that is significant.
    """
    head = ["", "against", "difference", "95 % interval", "effect", "p", "p, Holm", "SE of seeds", "findable"]
    found = family(comparison, metric, None, "mean").differences
    return _table(head, (_test(one, metric) for one in found))


def seeds(comparison: Comparison) -> str:
    """B-DSC by seed, the mean over subjects and bones, of contenders that have the same seeds."""
    return _table(
        ["B-DSC, %", *(run.name.replace("-", " ") for run in comparison.contenders[0].runs)],
        (
            [contender.name, *(number(value, B_DSC.factor) for value in contender.run_means(B_DSC).tolist())]
            for contender in comparison.contenders
        ),
    )


def volumes(comparison: Comparison, scores: Sequence[tuple[str, Score]]) -> str:
    """Predicted over true voxels by bone, the mean over subjects and seeds; `scores` with whose they are."""
    ratios: dict[tuple[str, int], list[float]] = {}
    for contender, score in scores:
        ratio = score.predicted_voxels / score.truth_voxels
        ratios.setdefault((contender, score.label), []).append(ratio)
    return _table(
        ["predicted / true voxels", *(label.name for label in comparison.labels)],
        (
            [
                contender.name,
                *(_mean(ratios[contender.name, label.value], 3) for label in comparison.labels),
            ]
            for contender in comparison.contenders
        ),
    )


def search(tried: Sequence[Mapping[str, str]]) -> str:
    """What was tried on the validation subjects, `tried` being search.csv's rows: a row a combination.

    The mean of the best validation over the seeds of the search, in %; what was taken is bold.
    """
    names = list(dict.fromkeys(row["contender"] for row in tried))
    return _table(
        ["validation, %", *names],
        (
            [
                values.replace(",", ", "),
                *(
                    _tried(row for row in tried if (row["contender"], row["values"]) == (name, values))
                    for name in names
                ),
            ]
            for values in dict.fromkeys(row["values"] for row in tried)
        ),
    )


def budget(comparison: Comparison) -> str:
    """How long each contender trained, the mean over its seeds, and when its validation was best.

    Of its runs, those that patience ended, and those whose last validation is their best: they were cut off
    while they still improved.
    """
    rows = []
    for contender in comparison.contenders:
        runs = [run for run in contender.runs if "step" in run.history]
        steps = [float(run.history["step"][-1]) for run in runs]
        ended = sum(step < _budget(run) for run, step in zip(runs, steps, strict=True))
        improving = sum(step == _best_step(run) for run, step in zip(runs, steps, strict=True))
        minutes = (run.history["seconds"][-1] / 60 for run in runs)
        rows.append(
            [
                contender.name,
                _mean(steps),
                _mean(map(_best_step, runs)),
                f"{ended} of {len(runs)}",
                f"{improving} of {len(runs)}",
                _mean(minutes),
            ]
        )
    head = ["", "steps made", "best at step", "ended by patience", "best at the last step", "minutes a run"]
    return _table(head, rows)


def growth(comparison: Comparison) -> str:
    """The best validation after each quarter of the budget, the mean over seeds: what more steps still gave.

    A run that its patience ended keeps its best.
    """
    runs = [run for contender in comparison.contenders for run in contender.runs]
    steps = max(map(_budget, runs), default=0)
    quarters = [round(steps * quarter / 4) for quarter in range(1, 5)]

    def cells(contender: Contender) -> Iterable[str]:
        return (_mean((100 * _best(run, step) for run in contender.runs), 2) for step in quarters)

    return _table(
        ["validation, %, by step", *map(str, quarters)],
        ([contender.name, *cells(contender)] for contender in comparison.contenders),
    )


def settings(comparison: Comparison) -> str:
    """The settings that all runs share, and those that the search chose for each contender."""
    shared, differing = settings_table(comparison)
    told = ", ".join(f"`{name}` {value}" for name, value in shared.items() if name not in _MACHINE)
    names = [name for name in next(iter(differing.values()), {}) if name not in _MACHINE]
    rows = ([contender, *(values[name] for name in names)] for contender, values in differing.items())
    return f"All runs: {told}.\n\n" + _table(["", *names], rows)


def _score(comparison: Comparison, contender: Contender, metric: Metric, label: int | None) -> str:
    shown = cell(comparison, contender, metric, label)
    score = f"{shown.mean} ± {shown.subjects}"
    return f"**{score}**" if shown.best else score


def _test(found: Difference, metric: Metric) -> list[str]:
    test, factor = found.test, metric.factor
    ends = None if test.interval is None else (test.interval.low, test.interval.high)
    return [
        found.reference,
        found.other,
        signed(test.mean, factor),
        _NONE if ends is None else f"{signed(ends[0], factor)} to {signed(ends[1], factor)}",
        signed(test.effect),
        p_value(test.p),
        f"**{p_value(found.p)}**" + "†" * found.within_runs if found.significant else p_value(found.p),
        number(None if found.runs_error is None else found.runs_error.error, factor),
        number(found.detectable, factor),
    ]


def _tried(rows: Iterable[Mapping[str, str]]) -> str:
    rows = list(rows)
    scores = [float(row["score"]) for row in rows if row["score"]]
    if not rows or len(scores) < len(rows):
        return _NONE  # not tried, or it could not be trained with
    score = f"{100 * fmean(scores):.2f}"
    return f"**{score}**" if rows[0]["chosen"] == "yes" else score


def _budget(run: Run) -> int:
    """The steps that a run was given; 0 where its settings do not say."""
    return int(run.settings.get("steps", 0))


def _best_step(run: Run) -> float:
    """The step of the best validation; NaN without validation."""
    steps, scores = _validations(run)
    return float(steps[scores.argmax()]) if scores.size else math.nan


def _best(run: Run, step: float) -> float:
    """The best validation up to `step`; NaN where there was none yet."""
    steps, scores = _validations(run)
    before = scores[steps <= step]
    return float(before.max()) if before.size else math.nan


def _validations(run: Run) -> tuple[Floats, Floats]:
    """The steps with a validation, and its score by the measure that chose the checkpoint."""
    scores = run.history.get(str(run.settings.get("select")), np.empty(0))
    done = np.isfinite(scores)
    return run.history.get("step", np.empty(0))[done], scores[done]


def _mean(values: Iterable[float], digits: int = 0) -> str:
    numbers = [value for value in values if not math.isnan(value)]
    return f"{fmean(numbers):.{digits}f}" if numbers else _NONE


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
