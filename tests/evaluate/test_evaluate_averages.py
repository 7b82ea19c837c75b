"""Means and deviations by hand: over cases, and over the labels of each first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dmapsvc.errors import BadInput
from dmapsvc.evaluate.averages import IN_UNITS, MEAN, averages
from dmapsvc.evaluate.measures import measure
from dmapsvc.evaluate.scores import Score

_NOTHING = measure(*np.zeros((2, 1, 1, 1), bool))


def _score(case: str, label: int, g_dsc: float, hd95: float = 0.0) -> Score:
    score = Score.of(_NOTHING, case=case, label=label, name=f"bone {label}", unit="mm", tolerance=1.0)
    return replace(score, g_dsc=g_dsc, hd95=hd95)


def test_a_row_for_each_label_and_one_of_the_means_of_each_case() -> None:
    scores = [_score("a", 7, 0.5, 4), _score("a", 5, 0.9, 2), _score("b", 5, 0.7, 1), _score("b", 7, 0.9, 1)]
    rows = averages(scores, ("g_dsc", "hd95"))
    assert [(row.name, row.cases) for row in rows] == [("bone 5", 2), ("bone 7", 2), (MEAN, 2)]
    assert rows[0].mean == pytest.approx({"g_dsc": 0.8, "hd95": 1.5})
    assert rows[0].deviation["g_dsc"] == pytest.approx(0.02**0.5)  # (0.1² + 0.1²) / (2 − 1)
    assert rows[2].mean == pytest.approx({"g_dsc": 0.75, "hd95": 2.0})
    assert rows[2].deviation == pytest.approx({"g_dsc": 0.005**0.5, "hd95": 2**0.5})  # of 0.7, 0.8; of 3, 1


def test_one_label_has_no_mean_beside_it_and_one_case_no_deviation() -> None:
    rows = averages([_score("a", 5, 0.9)], ("g_dsc",))
    assert [(row.name, row.mean, row.deviation) for row in rows] == [
        ("bone 5", {"g_dsc": 0.9}, {"g_dsc": 0.0})
    ]


@pytest.mark.parametrize("measure", IN_UNITS)
def test_millimetres_and_voxels_have_no_mean(measure: str) -> None:
    scores = [_score("a", 5, 0.9), replace(_score("b", 5, 0.7), unit="voxel")]
    with pytest.raises(BadInput, match=f"{measure} of scores in mm and of others in voxels"):
        averages(scores, ("g_dsc", measure))
    assert averages(scores, ("g_dsc",))[0].mean == pytest.approx({"g_dsc": 0.8})
