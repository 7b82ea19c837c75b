"""Two sides, wherever they lie, become one list of scores; a case that cannot be scored costs no other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dmapsvc.errors import BadInput, BadSpec, NotFound
from dmapsvc.evaluate.evaluation import evaluate
from dmapsvc.evaluate.manifest import Manifest
from dmapsvc.evaluate.measures import measure
from dmapsvc.evaluate.processes import call_each
from dmapsvc.evaluate.scores import Score
from dmapsvc.volumes.writing import write_labels
from tests.evaluate.dying import call_or_die
from tests.evaluate.label_files import SPACING, boxes, make_dataset, write_folder, write_nrrd
from tests.loader.origin_server import OriginServer

_TRUTH = {"a": boxes(), "b": boxes()}
_FOUND = {"a": boxes(), "b": boxes(shift=1)}


def _of(scores: tuple[Score, ...], case: str, label: int) -> Score:
    return next(score for score in scores if (score.case, score.label) == (case, label))


def test_each_label_of_each_case_is_measured_in_mm(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    found = evaluate(
        write_folder(tmp_path / "truth", _TRUTH),
        write_folder(tmp_path / "found", _FOUND),
        names={5: "femur"},
        tolerance=0.2,
        jobs=1,
        on_case=lambda done, total, case: heard.append((done, total)),
    )
    assert [(score.case, score.label, score.name) for score in found.scores] == [
        ("a", 5, "femur"),
        ("a", 7, "7"),
        ("b", 5, "femur"),
        ("b", 7, "7"),
    ]
    assert heard == [(1, 2), (2, 2)]
    assert (found.failed, found.without_truth, found.unscored) == ((), (), ())
    wanted = measure(boxes() == 5, boxes(1) == 5, spacing=SPACING, tolerance=0.2)
    moved = _of(found.scores, "b", 5)
    assert moved == Score.of(wanted, case="b", label=5, name="femur", unit="mm", tolerance=0.2)
    assert moved.g_dsc == 0.75
    assert moved.hd95 == 0.5  # one voxel along x
    assert _of(found.scores, "b", 7).g_dsc == 1


def test_all_kinds_of_places_give_the_same_scores(tmp_path: Path) -> None:
    truth, store = write_folder(tmp_path / "truth", _TRUTH), make_dataset(tmp_path / "truth.zarr", _TRUTH)
    folder, other = write_folder(tmp_path / "found", _FOUND), make_dataset(tmp_path / "found.zarr", _FOUND)
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for case, labels in _FOUND.items():
        write_nrrd(mixed / f"{case}.nrrd", labels)
    wanted = evaluate(truth, folder, jobs=1).scores
    for sides in ((store, folder), (truth, other), (str(store), str(other)), (store, mixed)):
        assert evaluate(*sides, jobs=1).scores == wanted


def test_a_dataset_behind_a_url_is_scored_by_its_label_maps_alone(tmp_path: Path) -> None:
    make_dataset(tmp_path / "knees.zarr", _TRUTH, names={5: "femur"})
    found = write_folder(tmp_path / "found", _FOUND)
    wanted = evaluate(tmp_path / "knees.zarr", found, jobs=1)
    with OriginServer(tmp_path) as server:
        assert evaluate(server.url("knees"), found, jobs=1) == wanted
        assert {key.split("/")[1] for key in server.arrays_sent()} == {"label"}
        assert evaluate(server.url("knees"), found, jobs=2) == wanted


def test_processes_give_what_one_gives_and_a_damaged_file_costs_no_other_case(tmp_path: Path) -> None:
    truth = make_dataset(tmp_path / "truth.zarr", {**_TRUTH, "c": boxes(), "d": boxes()}, names={7: "tibia"})
    found = write_folder(tmp_path / "found", {**_FOUND, "c": boxes(), "e": boxes()})
    (found / "c.nii.gz").write_bytes((found / "a.nii.gz").read_bytes()[:-30])
    alone = evaluate(truth, found, jobs=1)
    assert evaluate(truth, found, jobs=2) == alone
    assert [(failure.case, failure.problem.status) for failure in alone.failed] == [("c", 422), ("d", 404)]
    assert "c.nii.gz" in alone.failed[0].problem.detail
    assert "case 'd' has no prediction" in alone.failed[1].problem.detail
    assert {score.case for score in alone.scores} == {"a", "b"}
    assert _of(alone.scores, "a", 7).name == "tibia"
    assert alone.without_truth == ("e",)


def test_what_the_folder_was_to_hold_is_what_is_scored_unless_cases_are_named(tmp_path: Path) -> None:
    truth = make_dataset(tmp_path / "truth.zarr", {**_TRUTH, "c": boxes()})
    found = write_folder(tmp_path / "found", {"a": boxes()})
    Manifest(cases=("a", "b"), made={"step": 1}).write(found)
    predicted = evaluate(truth, found, jobs=1)
    assert {score.case for score in predicted.scores} == {"a"}
    assert [failure.case for failure in predicted.failed] == ["b"]
    assert not evaluate(truth, found, cases=["a"], jobs=1).failed
    assert [failure.case for failure in evaluate(truth, found, cases=["a", "x"], jobs=1).failed] == ["x"]


def test_a_label_that_some_cases_lack_is_scored_in_every_case(tmp_path: Path) -> None:
    without = np.where(boxes() == 7, 0, boxes()).astype(np.uint8)
    truth = write_folder(tmp_path / "truth", {"a": boxes(), "b": without, "c": without})
    stray = np.where(boxes() == 5, 3, boxes()).astype(np.uint8)
    found = write_folder(tmp_path / "found", {"a": stray, "b": without, "c": boxes()})
    result = evaluate(truth, found, jobs=1)
    assert sorted((score.case, score.label) for score in result.scores) == [
        (case, label) for case in "abc" for label in (5, 7)
    ]
    diagonal = float(np.linalg.norm((np.array(boxes().shape) - 1) * SPACING))
    missed, agreed, invented = (_of(result.scores, *at) for at in (("a", 5), ("b", 7), ("c", 7)))
    assert (missed.g_dsc, missed.b_dsc_4, missed.nsd) == (0, 0, 0)
    assert missed.hd95 == pytest.approx(diagonal)
    assert (agreed.g_dsc, agreed.nsd, agreed.hd95, agreed.asd, agreed.truth_voxels) == (1, 1, 0, 0, 0)
    assert (invented.g_dsc, invented.predicted_voxels) == (0, 64)
    assert result.unscored == (3,)
    chosen = evaluate(truth, found, labels=(3,), jobs=1)
    assert [(score.label, score.g_dsc) for score in chosen.scores] == [(3, 0), (3, 1), (3, 1)]
    assert chosen.unscored == ()


def test_the_labels_of_a_spec_are_those_that_are_scored(tmp_path: Path) -> None:
    truth = make_dataset(tmp_path / "truth.zarr", _TRUTH, labels=(7, 9))
    found = write_folder(tmp_path / "found", _FOUND)
    assert [score.label for score in evaluate(truth, found, cases=["a"], jobs=1).scores] == [7, 9]


def test_another_grid_is_refused_and_units_may_be_voxels(tmp_path: Path) -> None:
    truth = write_folder(tmp_path / "truth", _TRUTH)
    found = write_folder(tmp_path / "found", {"a": boxes()[:, :, :-1]})
    write_folder(found, {"b": boxes(1)}, spacing=(2.0, 0.5, 0.6))
    failed = evaluate(truth, found, jobs=1).failed
    assert [failure.problem.status for failure in failed] == [409, 409]
    assert "8 x 12 x 13" in failed[0].problem.detail
    assert "must lie on one grid. Resample the prediction onto the truth's grid" in failed[0].problem.detail
    assert "write it with the truth's affine and spacing" in failed[1].problem.detail
    plain = tmp_path / "plain"
    plain.mkdir()
    for case, labels in _FOUND.items():
        np.save(plain / f"{case}.npy", labels)
    assert {score.unit for score in evaluate(truth, plain, jobs=1).scores} == {"mm"}
    for sides in ((plain, truth), (truth, plain)):
        moved = _of(evaluate(*sides, units="voxel", jobs=1).scores, "b", 5)
        assert (moved.unit, moved.hd95) == ("voxel", 1)
    assert {score.unit for score in evaluate(plain, truth, jobs=1).scores} == {"voxel"}


def test_an_affine_that_differs_is_told_as_that(tmp_path: Path) -> None:
    z, y, x = SPACING
    truth, found = tmp_path / "truth.nii.gz", tmp_path / "found.nii.gz"
    write_labels(truth, boxes(), affine=np.diag((x, y, z, 1.0)))
    write_labels(found, boxes(), affine=np.diag((-x, y, z, 1.0)))
    (failure,) = evaluate(truth, found).failed
    assert "their affines differ" in failure.problem.detail
    assert "if its axes are flipped, flip them back" in failure.problem.detail


def test_a_label_that_no_case_of_either_side_has_cannot_be_asked_for(tmp_path: Path) -> None:
    truth, found = write_folder(tmp_path / "truth", _TRUTH), write_folder(tmp_path / "found", _FOUND)
    with pytest.raises(BadInput, match=r"label 9, 11: in no case, .*; there are 5, 7\."):
        evaluate(truth, found, labels=(5, 9, 11), jobs=1)
    write_folder(found, {"b": np.where(boxes() == 5, 9, 0).astype(np.uint8)})
    scores = evaluate(truth, found, labels=(9,), jobs=1).scores
    assert [(score.case, score.g_dsc) for score in scores] == [("a", 1), ("b", 0)]


def test_scores_are_kept_where_a_label_may_be_in_a_case_that_failed(tmp_path: Path) -> None:
    only_5 = np.where(boxes() == 5, 5, 0).astype(np.uint8)
    truth = write_folder(tmp_path / "truth", {"a": only_5, "b": boxes()})
    found = write_folder(tmp_path / "found", {"a": only_5})
    result = evaluate(truth, found, labels=(5, 7), jobs=1)
    assert [(score.case, score.label) for score in result.scores] == [("a", 5), ("a", 7)]
    assert (result.absent, [failure.case for failure in result.failed]) == ((7,), ["b"])
    assert evaluate(truth, found, labels=(5,), jobs=1).absent == ()
    with pytest.raises(BadInput, match="label 7: in no case"):
        evaluate(truth, found, cases=["a"], labels=(5, 7), jobs=1)


def test_a_case_that_the_truth_lacks_is_no_missing_prediction(tmp_path: Path) -> None:
    truth = write_folder(tmp_path / "truth", {"a": boxes()})
    found = write_folder(tmp_path / "found", _FOUND)
    result = evaluate(truth, found, cases=["a", "b", "x"], jobs=1)
    assert ["is not in the truth" in failure.problem.detail for failure in result.failed] == [True, True]


def test_two_single_files_are_one_case(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "files", {"truth": boxes(), "found": boxes(1)})
    result = evaluate(folder / "truth.nii.gz", folder / "found.nii.gz")
    assert [(score.case, score.label, score.g_dsc) for score in result.scores] == [
        ("truth", 5, 0.75),
        ("truth", 7, 1),
    ]


def test_with_sheared_axes_there_are_distances_in_voxels_alone(tmp_path: Path) -> None:
    sheared = np.array([[0.5, 0.1, 0, 0], [0, 0.5, 0, 0], [0, 0, 2.0, 0], [0, 0, 0, 1]])
    for name, labels in (("truth", boxes()), ("found", boxes(1))):
        write_labels(tmp_path / f"{name}.nii.gz", labels, affine=sheared)
    sides = tmp_path / "truth.nii.gz", tmp_path / "found.nii.gz"
    (failure,) = evaluate(*sides).failed
    assert "its axes are sheared" in failure.problem.detail
    assert evaluate(*sides, units="voxel").scores[0].hd95 == 1


def test_what_was_asked_wrong_is_told_before_anything_is_read(tmp_path: Path) -> None:
    truth, found = write_folder(tmp_path / "truth", _TRUTH), write_folder(tmp_path / "found", _FOUND)
    with pytest.raises(BadSpec):
        evaluate(truth, found, labels=(0,))
    with pytest.raises(BadInput, match="jobs 0"):
        evaluate(truth, found, jobs=0)
    with pytest.raises(BadInput, match="tolerance"):
        evaluate(truth, found, tolerance=-1)
    with pytest.raises(NotFound, match="no case to score"):
        evaluate(truth, found, cases=[])
    with pytest.raises(BadInput, match="no such file or folder"):
        evaluate(truth, tmp_path / "none")


def test_a_case_that_ends_its_process_costs_no_other() -> None:
    ended = call_each(call_or_die, ["a", "poison", "b"], jobs=2, died=lambda name: f"{name} died")
    assert sorted(ended) == ["a", "b", "poison died"]
