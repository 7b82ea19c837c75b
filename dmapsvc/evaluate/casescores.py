"""One case: its truth and its prediction read, laid on one grid, and every label measured.

Which cases there are, and what becomes of a label that is in none of the truths, is decided in
`evaluation.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmapsvc.errors import DmapsvcError, GridMismatch, NotFound, Problem, TooLarge
from dmapsvc.evaluate.labelmaps import LabelMaps
from dmapsvc.evaluate.measures import Measures, class_measures
from dmapsvc.maps.regions import region_map
from dmapsvc.spec import MapSpec, Spacing, Units
from dmapsvc.volumes import Header, check_same_grid, check_unsheared


@dataclass(frozen=True, kw_only=True)
class CaseScores:
    """The measures of a case by label: of those asked for, or of all that its truth or its prediction has.

    `unit`: of distances. `truth`, `predicted`: the labels that either side has, 0 left out.
    """

    case: str
    unit: Units
    measures: dict[int, Measures]
    truth: frozenset[int]
    predicted: frozenset[int]


@dataclass(frozen=True, kw_only=True)
class CaseFailed:
    """A case without scores, and why."""

    case: str
    problem: Problem


@dataclass(frozen=True, kw_only=True)
class CaseScorer:
    """Scores a case when it is called with its name; pickles.

    `labels`: those to measure; None: all that are there. `units`: `mm` where the truth has a spacing, or
    `voxel` everywhere. `tolerance`: of the NSD, in that unit.
    """

    truths: LabelMaps
    predictions: LabelMaps
    labels: tuple[int, ...] | None
    units: Units
    tolerance: float

    def __call__(self, case: str) -> CaseScores | CaseFailed:
        """The scores of `case`, or why there are none; raises nothing but what ends a process."""
        try:
            return self.score(case)
        except MemoryError:
            error: DmapsvcError = TooLarge(
                f"case {case!r}: not enough memory", remedy="Take fewer jobs, or a larger machine"
            )
        except DmapsvcError as raised:
            error = raised
        except OSError as raised:
            error = DmapsvcError(f"case {case!r}: {raised.strerror or raised}", remedy="Look at its disk")
        return CaseFailed(case=case, problem=error.problem)

    def voxels(self, case: str) -> int:
        """Voxels of the truth of `case`, 0 where that cannot be told."""
        try:
            return self.truths.header(case).voxels
        except (DmapsvcError, OSError):
            return 0

    def score(self, case: str) -> CaseScores:
        """The scores of `case`.

        Raises NotFound, BadFile, BadLabels and Damaged for either side as `LabelMaps` does, GridMismatch if
        they do not lie on one grid, BadSpec for mm on a sheared one.
        """
        if case not in self.truths:
            raise NotFound(
                f"case {case!r} is not in the truth", remedy="Mend its name, or leave it out with --cases"
            )
        if case not in self.predictions:
            raise NotFound(
                f"case {case!r} has no prediction", remedy="Predict it, or leave it out with --cases"
            )
        spacing = self._spacing(self._grid(case), self.truths.shown(case))
        truth, prediction = self.truths.read(case).array, self.predictions.read(case).array
        there, predicted = _labels(truth), _labels(prediction)
        return CaseScores(
            case=case,
            unit="voxel" if spacing is None else "mm",
            measures=class_measures(
                truth,
                prediction,
                self.labels or tuple(sorted(there | predicted)),
                spacing=spacing,
                tolerance=self.tolerance,
            ),
            truth=there,
            predicted=predicted,
        )

    def _grid(self, case: str) -> Header:
        truth, prediction = self.truths.header(case), self.predictions.header(case)
        names = self.truths.shown(case), self.predictions.shown(case)
        try:
            check_same_grid(truth, prediction, mask_name=names[0], image_name=names[1])
        except GridMismatch as error:
            raise GridMismatch(error.found, "both must lie on one grid", _remedy(truth, prediction)) from None
        return truth

    def _spacing(self, header: Header, name: str) -> Spacing | None:
        if self.units == "voxel" or header.spacing is None:
            return None
        check_unsheared(header, name=name)
        return header.spacing


def _remedy(truth: Header, prediction: Header) -> str:
    """What to do about two grids that differ."""
    resample = "Resample the prediction onto the truth's grid, nearest"
    if truth.shape != prediction.shape:
        return resample
    return (
        "If its voxels are in the truth's order, write it with the truth's affine and spacing; if its axes "
        f"are flipped, flip them back. {resample}, only if it truly lies elsewhere"
    )


def _labels(array: NDArray[np.unsignedinteger[Any]]) -> frozenset[int]:
    return frozenset(region_map(array, MapSpec()).values) - {0}
