"""The file of scores: its columns, to the last bit, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmapsvc.errors import BadFile, BadInput, DmapsvcError
from dmapsvc.evaluate.measures import measure
from dmapsvc.evaluate.scores import Score, read_scores, write_scores

_COLUMNS = (
    "case,label,name,unit,tolerance,g_dsc,b_dsc,b_dsc_1,b_dsc_2,b_dsc_3,b_dsc_4,nsd,hd95,asd,"
    "truth_voxels,predicted_voxels"
)


def _score(case: str = "a", label: int = 5, name: str = "femur") -> Score:
    truth, prediction = np.zeros((2, 6, 6, 6), bool)
    truth[1:4, 1:4, 1:4] = prediction[2:5, 1:4, 1:4] = True
    measures = measure(truth, prediction, spacing=(0.7, 0.3, 0.3), tolerance=0.5)
    return Score.of(measures, case=case, label=label, name=name, unit="mm", tolerance=0.5)


def test_the_columns_are_those_that_others_read(tmp_path: Path) -> None:
    write_scores(tmp_path / "new" / "scores.csv", [_score()])
    header, row = (tmp_path / "new" / "scores.csv").read_text().splitlines()
    assert header == _COLUMNS
    assert row.startswith("a,5,femur,mm,0.5,0.66666666666666")
    assert row.endswith(",27,27")
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["scores.csv"]


@given(
    number=st.floats(0, 1e300),
    name=st.text(st.characters(blacklist_categories=["Cs", "Cc"])),
    label=st.integers(1),
)
@settings(max_examples=50)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, number: float, name: str, label: int
) -> None:
    path = tmp_path_factory.mktemp("scores") / "scores.csv"
    scores = [replace(_score(label=label, name=name), hd95=number), _score(case="b")]
    write_scores(path, scores)
    assert read_scores(path) == scores


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("femur,mm", "femur,cm", "line 2: unit is 'cm'"),
        (",27,27", ",27", "line 2: no predicted_voxels"),
        (",27,27", ",27,nan", "line 2: predicted_voxels is 'nan'"),
        (",0.5,", ",nan,", "line 2: tolerance is 'nan'"),
        ("g_dsc,", "dsc,", "its columns are not those of scores"),
    ],
)
def test_a_file_that_is_none_of_scores_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "scores.csv"
    write_scores(path, [_score()])
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(BadFile, match=said):
        read_scores(path)


def test_columns_in_another_order_are_read_and_a_label_twice_is_not(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    write_scores(path, [_score()])
    turned = [",".join(reversed(line.split(","))) for line in path.read_text().splitlines()]
    path.write_text("\n".join(turned) + "\n\n")
    assert read_scores(path) == [_score()]
    write_scores(path, [_score(), _score()])
    with pytest.raises(BadFile, match="label 5 of case 'a' is there twice"):
        read_scores(path)
    with pytest.raises(BadFile, match="No such file"):
        read_scores(tmp_path / "none.csv")
    with pytest.raises(BadInput, match="Name another"):
        write_scores(path / "scores.csv", [_score()])


def test_a_full_disk_is_not_what_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dmapsvc.evaluate.scores.write_text", full)
    with pytest.raises(DmapsvcError, match=r"No space left on device\. Make room") as caught:
        write_scores(tmp_path / "scores.csv", [])
    assert caught.value.problem.status == 500
