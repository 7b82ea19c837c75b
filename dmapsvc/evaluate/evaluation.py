"""An evaluation: every case of the truth beside its prediction, several at once, into one list of scores.

How one case is scored is in `casescores.py`, how the list is kept in `scores.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dmapsvc.errors import BadInput, NotFound, WorkerDied
from dmapsvc.evaluate.casescores import CaseFailed, CaseScorer, CaseScores
from dmapsvc.evaluate.labelmaps import LabelMaps, open_pair
from dmapsvc.evaluate.manifest import read_manifest
from dmapsvc.evaluate.masks import checked_tolerance
from dmapsvc.evaluate.measures import Measures, measure
from dmapsvc.evaluate.processes import call_each
from dmapsvc.evaluate.scores import Score
from dmapsvc.listing import first_few
from dmapsvc.loader.source import is_url
from dmapsvc.settings import load_settings
from dmapsvc.spec import MapSpec, Units

_BYTES = 90  # a voxel, of a case under way; measured: 80 where all is noise, 17 on knees of 23.6 million


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How an evaluation ended.

    `scores`: by case, then by label; each case that did not fail has every label. `failed`: the others, by
    name. `without_truth`: predictions that nothing was compared with. `truth_labels`, `predicted_labels`:
    those that some scored case has on either side; `unscored`: of the predicted, those that were neither
    asked for nor are in any truth; `absent`: of those asked for, those that are on neither side of a scored
    case, which one that failed may have.
    """

    scores: tuple[Score, ...]
    failed: tuple[CaseFailed, ...]
    without_truth: tuple[str, ...]
    truth_labels: tuple[int, ...]
    predicted_labels: tuple[int, ...]
    unscored: tuple[int, ...]
    absent: tuple[int, ...]


def evaluate(
    truth: str | Path,
    predictions: str | Path,
    *,
    cases: Sequence[str] | None = None,
    labels: Sequence[int] | None = None,
    names: Mapping[int, str] | None = None,
    units: Units = "mm",
    tolerance: float = 1.0,
    jobs: int | None = None,
    on_case: Callable[[int, int, str], None] = lambda done, total, case: None,
) -> Evaluation:
    """Score the label maps at `predictions` by those at `truth`, paired by the names of their cases.

    Each side is a dataset, its URL, a folder of label files, or one such file (`open_pair`); label values are
    their own. `cases`: those to score; left out, those that the folder of predictions says it is to hold
    (`manifest.py`), or else all of the truth. A case that cannot be scored, its prediction missing, say, is
    in `failed`, and the others are scored. `labels`: those to measure; left out, those of the dataset's spec,
    or all that any of the truths has; a label that both sides of a case lack counts as predicted rightly.
    `names` of labels go before those of the datasets. `units`: `mm`, where the truth has a spacing, or
    `voxel`; `tolerance` of the NSD is in it.

    `jobs` cases are scored at once, each in a process of its own; left out, one a core, fewer where the
    memory budget (`DMAPSVC_MEMORY_BUDGET`) does not hold so many of the largest. `on_case` is called with how
    many are done, of how many, and which was the last.

    Raises what `open_label_maps` raises; NotFound where no case is, or none is on both sides; BadInput for
    labels that cannot be, or are on neither side of any case and none failed, units that are none, a
    tolerance below 0, and jobs below 1.
    """
    chosen = MapSpec(labels=None if labels is None else tuple(labels), units=units).labels
    if jobs is not None and jobs < 1:
        raise BadInput(f"jobs {jobs}", "wanted at least 1")
    tolerance = checked_tolerance(tolerance)
    truths, predicted = open_pair(truth, predictions)
    wanted = _cases(truths, predictions, cases)
    _check_pairs(wanted, truths, predicted)
    known = chosen or truths.labels
    scorer = CaseScorer(truths=truths, predictions=predicted, labels=known, units=units, tolerance=tolerance)
    ended: list[CaseScores | CaseFailed] = []
    for result in call_each(scorer, wanted, jobs=jobs or _jobs(scorer, wanted), died=_died):
        ended.append(result)
        on_case(len(ended), len(wanted), result.case)
    scored = sorted((one for one in ended if isinstance(one, CaseScores)), key=lambda one: one.case)
    failed = sorted((one for one in ended if isinstance(one, CaseFailed)), key=lambda one: one.case)
    there = sorted({label for one in scored for label in one.truth})
    found = sorted({label for one in scored for label in one.predicted})
    absent = tuple(label for label in chosen or () if label not in {*there, *found})
    if absent and not failed:
        raise _nowhere(absent, {*there, *found})
    called = {**predicted.names, **truths.names, **(names or {})}
    return Evaluation(
        scores=_scores(scored, known or there, called, tolerance),
        failed=tuple(failed),
        without_truth=tuple(sorted(set(predicted.cases()) - set(truths.cases()))),
        truth_labels=tuple(there),
        predicted_labels=tuple(found),
        unscored=tuple(label for label in found if label not in {*there, *(known or ())}),
        absent=absent,
    )


def _cases(truths: LabelMaps, predictions: str | Path, cases: Sequence[str] | None) -> list[str]:
    if cases is None and not is_url(predictions):
        manifest = read_manifest(Path(predictions))
        cases = None if manifest is None else manifest.cases
    wanted = truths.cases() if cases is None else sorted(set(cases))
    if not wanted:
        raise NotFound(
            "no case to score", "the truth has none" if cases is None else "an empty list of cases"
        )
    return wanted


def _check_pairs(wanted: Sequence[str], truths: LabelMaps, predicted: LabelMaps) -> None:
    """Raise NotFound if none of the cases is on both sides: a list of each would hide what is wrong."""
    if not set(wanted).intersection(truths.cases(), predicted.cases()):
        raise NotFound(
            f"no case to score is on both sides: {first_few(wanted)}",
            f"the truth has {first_few(truths.cases()) or 'none'}, "
            f"the predictions are of {first_few(predicted.cases()) or 'none'}",
            "Give the truth that these predictions are of",
        )


def _nowhere(absent: Sequence[int], there: Collection[int]) -> BadInput:
    """Of labels that are asked for and not `there`: every case would have predicted them rightly."""
    return BadInput(
        f"label {first_few(absent)}: in no case, neither of the truth nor of the predictions",
        f"there are {first_few(sorted(there), 20)}" if there else "there are no labels at all",
        "Ask for labels that are there",
    )


def _jobs(scorer: CaseScorer, cases: Sequence[str]) -> int:
    """A core each, as far as the memory budget holds the largest case so often."""
    cores = len(os.sched_getaffinity(0))
    if cores == 1:
        return 1
    largest = max(map(scorer.voxels, cases))
    return max(1, min(cores, load_settings().memory_budget_bytes // max(1, _BYTES * largest)))


def _died(case: str) -> CaseFailed:
    error = WorkerDied(
        f"case {case!r}: the process that scored it was ended",
        "by the system, which does so when memory is short",
        "Take a larger machine, or crop the volumes",
    )
    return CaseFailed(case=case, problem=error.problem)


def _scores(
    scored: Sequence[CaseScores], labels: Sequence[int], names: Mapping[int, str], tolerance: float
) -> tuple[Score, ...]:
    agreed = _nothing_there()
    return tuple(
        Score.of(
            one.measures.get(label, agreed),
            case=one.case,
            label=label,
            name=" ".join(names.get(label, str(label)).split()),
            unit=one.unit,
            tolerance=tolerance,
        )
        for one in scored
        for label in labels
    )


def _nothing_there() -> Measures:
    """What a label measures that neither side of a case has."""
    empty = np.zeros((1, 1, 1), bool)
    return measure(empty, empty)
