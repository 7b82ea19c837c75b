"""Reading a comparison folder: `<contender>/<run>/scores.csv`, and beside it settings.json and history.csv.

Any program may have written it: a run is what lies in its folder. Nothing is computed here.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dmapsvc.errors import BadFile, BadInput, NotFound
from dmapsvc.evaluate.scores import Score, read_scores
from dmapsvc.listing import first_few
from dmapsvc.report.comparison import Comparison, Contender, Floats, Label, Run
from dmapsvc.report.metrics import METRICS
from dmapsvc.runfiles import HISTORY, PREDICTIONS, SCORES, SETTINGS

_LAYOUT = "wanted <contender>/<run>/scores.csv in it, as `dmapsvc evaluate` writes them"

_Key = tuple[str, int]  # a case and a label
_Scores = dict[_Key, Score]


def read_comparison(folder: Path, references: Sequence[str] = ()) -> Comparison:
    """What lies in `folder`; `references` are the contenders that all others are compared with.

    Left out, those whose name begins with `penalty` are, or else the first by name. Subjects and labels that
    a run lacks are left out of all, with a note: a comparison is of the same subjects.

    Raises NotFound if there is no run, BadInput if the references are no contenders, the runs' distances have
    different units or NSD different tolerances, or no subject and label is in all of them; BadFile for a file
    that cannot be read.
    """
    found = _read_runs(folder)
    scores = [run for runs in found.values() for _, run in runs]
    unit, tolerance = _unit(folder, scores)
    subjects, labels, notes = _common(found)
    names = _references(folder, list(found), references)
    contenders = tuple(
        Contender(
            name=name,
            runs=tuple(run for run, _ in found[name]),
            values=_values(found[name], subjects, labels),
        )
        for name in [*names, *(name for name in found if name not in names)]
    )
    return Comparison(
        contenders=contenders,
        references=names,
        subjects=subjects,
        labels=labels,
        unit=unit,
        tolerance=tolerance,
        notes=(*_without_scores(folder), *notes),
    )


def _read_runs(folder: Path) -> dict[str, list[tuple[Run, _Scores]]]:
    found: dict[str, list[tuple[Run, _Scores]]] = {}
    for path in sorted(folder.glob(f"*/*/{SCORES}")):
        run = Run(
            name=path.parent.name,
            folder=path.parent,
            settings=_read_settings(path.parent / SETTINGS),
            history=_read_history(path.parent / HISTORY),
        )
        scores = {(score.case, score.label): score for score in read_scores(path)}
        found.setdefault(path.parent.parent.name, []).append((run, scores))
    if not found:
        raise NotFound(f"{folder}: no scores are there", _LAYOUT, "Give the folder that holds the contenders")
    return found


def _without_scores(folder: Path) -> list[str]:
    """A note if there are runs without scores: folders with anything else that a run has."""
    runs = {path.parent for name in (SETTINGS, HISTORY, PREDICTIONS) for path in folder.glob(f"*/*/{name}")}
    names = [f"{path.parent.name}/{path.name}" for path in sorted(runs) if not (path / SCORES).is_file()]
    return [f"Without {SCORES}, so not counted: {first_few(names)}."] if names else []


def _unit(folder: Path, runs: Sequence[_Scores]) -> tuple[str, float]:
    units = sorted({(score.unit, score.tolerance) for run in runs for score in run.values()})
    if not units:
        raise BadInput(f"{folder}: its {SCORES} hold no row", "a comparison needs some")
    if len(units) > 1:
        found = " and ".join(f"{tolerance:g} {unit}" for unit, tolerance in units)
        raise BadInput(
            f"{folder}: scores with tolerances of {found}",
            "one unit and one tolerance can be compared",
            "Evaluate all runs alike",
        )
    unit, tolerance = units[0]
    return ("voxels" if unit == "voxel" else unit), tolerance


def _common(
    found: dict[str, list[tuple[Run, _Scores]]],
) -> tuple[tuple[str, ...], tuple[Label, ...], list[str]]:
    """The subjects and labels that every run has, and notes of those that some lack."""
    runs = {f"{name}/{run.name}": scores for name, pairs in found.items() for run, scores in pairs}
    names = {score.label: _label_name(score) for scores in runs.values() for score in scores.values()}
    labels = set.intersection(*({label for _, label in scores} for scores in runs.values()))
    complete = [
        {case for case, _ in scores if all((case, label) in scores for label in labels)}
        for scores in runs.values()
    ]
    subjects = set.intersection(*complete)
    if not (subjects and labels):
        raise BadInput(
            "no subject has the same labels scored in all runs",
            "a comparison is of the same subjects",
            "Evaluate all runs on the same cases",
        )
    everyone = {case for scores in runs.values() for case, _ in scores}
    notes = []
    if lacking := sorted(everyone - subjects):
        short = [run for run, cases in zip(runs, complete, strict=True) if cases < everyone]
        notes.append(
            f"Scored in some runs only, so left out of all: subjects {first_few(lacking)} "
            f"(incomplete: {first_few(short)}). If predictions failed there, "
            "the comparison flatters the runs that failed."
        )
    if strange := sorted(set(names) - labels):
        notes.append(
            f"Scored in some runs only, so left out of all: labels {first_few([names[v] for v in strange])}."
        )
    kept = tuple(Label(value=value, name=names[value]) for value in sorted(labels))
    return tuple(sorted(subjects)), kept, notes


def _label_name(score: Score) -> str:
    return f"label {score.label}" if score.name == str(score.label) else score.name


def _references(folder: Path, names: list[str], asked: Sequence[str]) -> tuple[str, ...]:
    if unknown := [name for name in asked if name not in names]:
        raise BadInput(
            f"{folder}: no contender {unknown[0]!r}", f"there are {', '.join(names)}", "Name one of them"
        )
    if asked:
        return tuple(dict.fromkeys(asked))
    return tuple(name for name in names if name.startswith("penalty")) or (names[0],)


def _values(pairs: Sequence[tuple[Run, _Scores]], subjects: Sequence[str], labels: Sequence[Label]) -> Floats:
    return np.array(
        [
            [
                [
                    [getattr(scores[subject, label.value], metric.key) for metric in METRICS]
                    for label in labels
                ]
                for subject in subjects
            ]
            for _, scores in pairs
        ],
        dtype=np.float64,
    )


def _read_settings(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadFile(f"{path}: {error}", "wanted JSON", "Mend it, or take it away") from None
    if not isinstance(settings, dict):
        raise BadFile(f"{path}: holds no settings", "wanted a JSON object", "Mend it, or take it away")
    return settings


def _read_history(path: Path) -> dict[str, Floats]:
    """The columns of a history by name; a cell that is empty is NaN."""
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return {
            name: np.array([float(row[name] or "nan") for row in rows], dtype=np.float64)
            for name in (rows or [{}])[0]
        }
    except (OSError, ValueError, TypeError) as error:
        raise BadFile(f"{path}: {error}", "wanted a table of numbers", "Mend it, or take it away") from None
