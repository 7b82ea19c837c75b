"""A comparison folder is read whole, and what some runs lack is left out of all and said."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from dmapsvc.errors import BadFile, BadInput, NotFound
from dmapsvc.evaluate.scores import read_scores, write_scores
from dmapsvc.report.folder import read_comparison
from dmapsvc.report.metrics import ASD, B_DSC, G_DSC, NSD
from tests.report.synthetic import BONES, CONTENDERS, score, write_comparison


def test_the_design_is_found(tmp_path: Path) -> None:
    found = read_comparison(write_comparison(tmp_path))
    assert found.references == ("penalty-balanced", "penalty-none", "penalty-region")
    names = [contender.name for contender in found.contenders]
    assert names == [*found.references, *sorted(set(CONTENDERS) - set(found.references))]
    assert {contender.values.shape for contender in found.contenders} == {(5, 10, 3, 9)}
    assert [label.name for label in found.labels] == list(BONES.values())
    assert (found.unit, found.tolerance, found.notes) == ("mm", 1.0, ())


def test_a_subjects_score_is_its_mean_over_runs_and_labels(tmp_path: Path) -> None:
    table = {  # run: subject: femur, tibia
        "run-1": {"s1": (0.2, 0.4), "s2": (0.5, 0.7)},
        "run-2": {"s1": (0.4, 0.4), "s2": (0.7, 0.9)},
    }
    for run, subjects in table.items():
        rows = [
            score(case, label, str(label), value)
            for case, values in subjects.items()
            for label, value in enumerate(values, 1)
        ]
        write_scores(tmp_path / "net" / run / "scores.csv", rows)
    comparison = read_comparison(tmp_path)
    assert [label.name for label in comparison.labels] == ["label 1", "label 2"]
    net = comparison.contenders[0]
    assert net.subject_means(B_DSC) == pytest.approx([0.35, 0.7])
    assert net.subject_means(B_DSC, 0) == pytest.approx([0.3, 0.6])
    assert net.run_means(B_DSC) == pytest.approx([0.45, 0.6])
    assert net.run_means(B_DSC, 1) == pytest.approx([0.55, 0.65])
    assert net.subject_means(G_DSC) == pytest.approx(0.9 + 0.12 * np.array([0.35, 0.7]))
    assert net.subject_means(ASD) == pytest.approx(1.2 - 1.2 * np.array([0.35, 0.7]))


def test_the_references_asked_for_come_first_in_their_order(tmp_path: Path) -> None:
    folder = write_comparison(tmp_path, contenders=["a", "b", "c"], runs=1, subjects=2)
    assert read_comparison(folder).references == ("a",)
    found = read_comparison(folder, ["c", "b", "c"])
    assert found.references == ("c", "b")
    assert [contender.name for contender in found.contenders] == ["c", "b", "a"]
    with pytest.raises(BadInput, match="no contender 'd'; there are a, b, c"):
        read_comparison(folder, ["d"])


def test_a_subject_that_one_run_lacks_is_left_out_of_all(tmp_path: Path) -> None:
    folder = write_comparison(tmp_path, contenders=["a", "b"], runs=2, subjects=3)
    path = folder / "b" / "seed-1" / "scores.csv"
    write_scores(path, [found for found in read_scores(path) if found.case != "knee_01"])
    found = read_comparison(folder)
    assert found.subjects == ("knee_00", "knee_02")
    assert found.contenders[0].values.shape[1] == 2
    assert len(found.notes) == 1
    assert "knee_01" in found.notes[0]
    assert "b/seed-1" in found.notes[0]
    assert "a/seed" not in found.notes[0]


def test_a_label_that_one_run_lacks_is_left_out_of_all(tmp_path: Path) -> None:
    folder = write_comparison(tmp_path / "x", contenders=["a"], runs=2, subjects=3)
    write_comparison(tmp_path / "y", contenders=["b"], runs=1, subjects=3, bones={1: "femur", 2: "tibia"})
    (tmp_path / "y" / "b").rename(folder / "b")
    found = read_comparison(folder)
    assert [label.value for label in found.labels] == [1, 2]
    assert any("labels patella" in note for note in found.notes)
    assert found.subjects == ("knee_00", "knee_01", "knee_02")


def test_nothing_in_common_is_an_error(tmp_path: Path) -> None:
    write_scores(tmp_path / "a" / "r" / "scores.csv", [score("s1", 1, "femur", 0.5)])
    write_scores(tmp_path / "b" / "r" / "scores.csv", [score("s2", 1, "femur", 0.5)])
    with pytest.raises(BadInput, match="no subject has the same labels"):
        read_comparison(tmp_path)


def test_two_units_are_no_comparison(tmp_path: Path) -> None:
    write_scores(tmp_path / "a" / "r" / "scores.csv", [score("s1", 1, "femur", 0.5)])
    write_scores(tmp_path / "b" / "r" / "scores.csv", [score("s1", 1, "femur", 0.5, unit="voxel")])
    with pytest.raises(BadInput, match="1 mm and 1 voxel"):
        read_comparison(tmp_path)


def test_distances_in_voxels_are_called_so(tmp_path: Path) -> None:
    rows = [dataclasses.replace(score("s1", 1, "femur", 0.5), unit="voxel", tolerance=2.0)]
    write_scores(tmp_path / "a" / "r" / "scores.csv", rows)
    found = read_comparison(tmp_path)
    assert found.unit_of(ASD) == "voxels"
    assert found.title_of(NSD) == "NSD at 2 voxels"


def test_runs_without_scores_are_told_and_other_folders_are_not_runs(tmp_path: Path) -> None:
    folder = write_comparison(tmp_path, contenders=["a"], runs=1, subjects=2)
    (folder / "a" / "seed-1").mkdir()
    (folder / "a" / "seed-1" / "history.csv").write_text("step,loss\n1,0.5\n")
    (folder / "report" / "figures").mkdir(parents=True)
    found = read_comparison(folder)
    assert found.notes == ("Without scores.csv, so not counted: a/seed-1.",)
    assert [run.name for run in found.contenders[0].runs] == ["seed-0"]


def test_an_empty_folder_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"<contender>/<run>/scores\.csv"):
        read_comparison(tmp_path)


def test_scores_without_a_row_are_no_comparison(tmp_path: Path) -> None:
    write_scores(tmp_path / "a" / "r" / "scores.csv", [])
    with pytest.raises(BadInput, match="hold no row"):
        read_comparison(tmp_path)


def test_history_and_settings_lie_beside_the_scores(tmp_path: Path) -> None:
    run = (
        read_comparison(write_comparison(tmp_path, runs=1, subjects=2, histories=True)).contenders[0].runs[0]
    )
    assert run.settings["steps"] == 5000
    assert run.history["step"][:2].tolist() == [250, 500]
    assert np.isnan(run.history["b_dsc"][0])
    assert run.history["b_dsc"][1] > 0


@pytest.mark.parametrize(
    ("name", "text"),
    [("settings.json", "{"), ("settings.json", "[1]"), ("history.csv", "step,loss\n1,much\n")],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, text: str) -> None:
    folder = write_comparison(tmp_path, contenders=["a"], runs=1, subjects=2)
    (folder / "a" / "seed-0" / name).write_text(text)
    with pytest.raises(BadFile, match=name):
        read_comparison(folder)
