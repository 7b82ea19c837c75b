"""The choice from the search: for each contender the values with the best validation, written down once.

The test cases have no part in it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from dmapsvc.compare.outcome import Outcome
from dmapsvc.compare.plan import Run, Values, values_name
from dmapsvc.train.settings import checked_fields
from dmapsvc.whole import write_json, write_text

_CHOSEN, _TRIED = "chosen.json", "search.csv"

Choice = Mapping[str, Values | None]
"""By contender, the values that its scored runs take; None where no value could be trained with."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A training of the search, and its best validation; `score` is None where it could not be trained."""

    run: Run
    score: float | None


def answers(runs: Iterable[Run], hopeless: Iterable[str]) -> dict[str, list[Tried] | None]:
    """By contender, what its trainings came to; None while one of them is missing.

    `hopeless`: the names of runs that cannot be trained, as their loss does not stay finite, say.
    """
    tried: dict[str, list[Tried] | None] = {}
    for run in runs:
        before = tried.setdefault(run.contender, [])
        outcome = Outcome.read(run.folder)
        if before is None or (outcome is None and run.name not in hopeless):
            tried[run.contender] = None
        else:
            before.append(Tried(run=run, score=None if outcome is None else outcome.score))
    return tried


def choose(tried: Sequence[Tried]) -> Values | None:
    """The values with the best mean score over their seeds; the first of equals.

    Values that could not be trained with, by one seed or all, are not taken; None if there are no others.
    """
    scores: dict[str, list[float | None]] = {}
    values: dict[str, Values] = {}
    for one in tried:
        name = values_name(one.run.values)
        scores.setdefault(name, []).append(one.score)
        values[name] = one.run.values
    means = {
        name: fmean(score for score in of_seeds if score is not None)
        for name, of_seeds in scores.items()
        if None not in of_seeds
    }
    return values[max(means, key=lambda name: means[name])] if means else None


def read_choice(out: Path) -> dict[str, Values | None]:
    """What was chosen in the comparison at `out` before."""
    path = out / _CHOSEN
    if not path.exists():
        return {}
    content = json.loads(path.read_text())
    return {
        contender: None if values is None else checked_fields(values, str(path))
        for contender, values in content.items()
    }


def write_choice(out: Path, choice: Choice) -> None:
    """Keep what is chosen."""
    plain = {contender: None if values is None else dict(values) for contender, values in choice.items()}
    write_json(out / _CHOSEN, plain)


def write_tried(out: Path, runs: Iterable[Run], choice: Choice) -> None:
    """A table of every training of the search: its score, once it is through, and which values are taken."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("contender", "values", "seed", "steps", "score", "chosen"))
    for run in runs:
        outcome = Outcome.read(run.folder)
        taken = choice.get(run.contender)
        rows.writerow(
            (
                run.contender,
                values_name(run.values),
                run.settings.seed,
                "" if outcome is None else outcome.steps,
                "" if outcome is None or outcome.score is None else f"{outcome.score:.6f}",
                "yes" if taken is not None and values_name(taken) == values_name(run.values) else "no",
            )
        )
    write_text(out / _TRIED, text.getvalue())
