"""`evaluate` prints the table, keeps the scores, and tells what it could not score."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dmapsvc.evaluate.scores import read_scores
from dmapsvc.train.split import Split
from tests.cli.cli_run import Run
from tests.evaluate.label_files import boxes, make_dataset, write_folder
from tests.loader.origin_server import OriginServer

_FOUND = {"a": boxes(), "b": boxes(shift=1)}


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """Three cases, labels 5 (femur) and 7."""
    return make_dataset(
        tmp_path / "knees.zarr", {case: boxes() for case in "abc"}, names={5: "femur", 7: "tibia"}
    )


def test_the_table_and_the_file(cli: Callable[..., Run], truth: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    run = cli("evaluate", truth, write_folder(tmp_path / "found", _FOUND), "-o", out, "--cases", "a,b")
    assert (run.code, run.err) == (0, "")
    header, femur, tibia, mean, last = run.out.splitlines()
    assert header.split("  ")[0] == "label"
    assert "HD95 (mm)" in header
    assert "G-DSC (%)" in header
    assert femur.split()[:5] == ["femur", "2", "87.50", "±", "17.68"]
    assert tibia.split()[:5] == ["tibia", "2", "100.00", "±", "0.00"]
    assert mean.split()[:5] == ["mean", "2", "93.75", "±", "8.84"]
    assert last == f"{out}: 2 cases scored, 0 failed"
    assert [(score.case, score.name) for score in read_scores(out)] == [
        ("a", "femur"),
        ("a", "tibia"),
        ("b", "femur"),
        ("b", "tibia"),
    ]


def test_what_is_missing_is_told_and_the_rest_is_kept(
    cli: Callable[..., Run], truth: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scores.csv"
    found = write_folder(tmp_path / "found", {**_FOUND, "z": boxes()})
    run = cli("evaluate", truth, found, "-o", out, "--jobs", "1", "--units", "voxel", "--labels", "5")
    assert run.code == 1
    assert run.err.splitlines() == [
        "1 prediction without a truth: z",
        "error: case 'c' has no prediction. Predict it, or leave it out with --cases.",
    ]
    assert run.out.splitlines()[-1] == f"{out}: 2 cases scored, 1 failed"
    assert "HD95 (voxels)" in run.out
    assert {score.unit for score in read_scores(out)} == {"voxel"}


def test_a_label_that_a_failed_case_may_have_is_a_note(
    cli: Callable[..., Run], truth: Path, tmp_path: Path
) -> None:
    only_5 = np.where(boxes() == 5, 5, 0).astype(np.uint8)
    truth = write_folder(tmp_path / "truth", {"a": only_5, "b": boxes()})
    found, out = write_folder(tmp_path / "found", {"a": only_5}), tmp_path / "scores.csv"
    run = cli("evaluate", truth, found, "-o", out, "--labels", "5,7")
    assert run.code == 1
    note, error = run.err.splitlines()
    assert note.startswith("label 7: in none of the cases that were scored")
    assert error.startswith("error: case 'b' has no prediction")
    assert [(score.case, score.label) for score in read_scores(out)] == [("a", 5), ("a", 7)]


def test_mm_and_voxels_have_no_mean(cli: Callable[..., Run], tmp_path: Path) -> None:
    truth, out = write_folder(tmp_path / "truth", {"a": boxes()}), tmp_path / "scores.csv"
    np.save(truth / "b.npy", boxes())
    run = cli("evaluate", truth, write_folder(tmp_path / "found", _FOUND), "-o", out)
    assert (run.code, run.out.splitlines()[0].split()) == (
        0,
        ["label", "cases", "G-DSC", "(%)", "B-DSC", "(%)"],
    )
    assert run.error.startswith("warning: cases in mm, and in voxels where the truth has no spacing")
    assert {(score.case, score.unit) for score in read_scores(out)} == {("a", "mm"), ("b", "voxel")}
    again = cli("evaluate", truth, tmp_path / "found", "-o", out, "--units", "voxel")
    assert (again.err, "HD95 (voxels)" in again.out) == ("", True)


def test_the_side_of_a_split(cli: Callable[..., Run], truth: Path, tmp_path: Path) -> None:
    split, found = tmp_path / "split.json", write_folder(tmp_path / "found", _FOUND)
    Split(train=("c",), test=("b",)).write(split)
    out = tmp_path / "scores.csv"
    assert cli("evaluate", truth, found, "-o", out, "--cases", "test", "--split", split).code == 0
    assert {score.case for score in read_scores(out)} == {"b"}
    wrong = cli("evaluate", truth, found, "-o", out, "--split", split)
    assert (wrong.code, "Add --cases test" in wrong.error) == (2, True)


def test_nothing_scored_leaves_no_file(cli: Callable[..., Run], truth: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    (write_folder(tmp_path / "found", {"z": boxes()}) / "a.nii.gz").write_bytes(b"no volume")
    run = cli("evaluate", truth, tmp_path / "found", "-o", out, "--jobs", "1")
    assert (run.code, run.out) == (1, f"{out}: 0 cases scored, 3 failed; not written\n")
    assert not out.exists()
    assert cli("evaluate", truth, tmp_path / "knees.zarr", "-o", out, "--cases", "a").code == 0
    again = cli("evaluate", truth, tmp_path / "found", "-o", out, "--jobs", "1")
    assert "3 failed; the scores that were there are removed" in again.out
    assert not out.exists()


def test_predictions_of_other_cases_are_told_in_one_line(
    cli: Callable[..., Run], truth: Path, tmp_path: Path
) -> None:
    found = write_folder(tmp_path / "found", {"y": boxes(), "z": boxes()})
    run = cli("evaluate", truth, found, "-o", tmp_path / "scores.csv")
    assert (run.code, run.out) == (2, "")
    assert run.error == (
        "error: no case to score is on both sides: a, b, c; the truth has a, b, c, the predictions "
        "are of y, z. Give the truth that these predictions are of."
    )


def test_a_side_of_no_split(cli: Callable[..., Run], truth: Path, tmp_path: Path) -> None:
    found, out = write_folder(tmp_path / "found", _FOUND), tmp_path / "scores.csv"
    run = cli("evaluate", truth, found, "-o", out, "--cases", "test")
    assert run.code == 2
    assert "the truth has no case of that name. For the test cases of a split, add --split" in run.error
    named = write_folder(tmp_path / "named", {"test": boxes()})
    assert cli("evaluate", named, named, "-o", out, "--cases", "test").code == 0


def test_a_label_that_is_nowhere(cli: Callable[..., Run], truth: Path, tmp_path: Path) -> None:
    found, out = write_folder(tmp_path / "found", _FOUND), tmp_path / "scores.csv"
    run = cli("evaluate", truth, found, "-o", out, "--labels", "9", "--cases", "a,b")
    assert (run.code, run.out, out.exists()) == (2, "", False)
    assert "label 9: in no case" in run.error


def test_a_dataset_that_the_service_has_not_is_one_line(
    cli: Callable[..., Run], truth: Path, tmp_path: Path
) -> None:
    found, out = write_folder(tmp_path / "found", _FOUND), tmp_path / "scores.csv"
    with OriginServer(tmp_path) as server:
        here, gone = server.url("knees"), server.url("bones")
        for sides in ((gone, found), (truth, gone), (here, gone)):
            run = cli("evaluate", *sides, "-o", out)
            assert run.code == 2
            lists = f"`dmapsvc info {server.server}` lists them."
            assert run.error == f"error: {gone}; the service has no such dataset. {lists}"
        assert cli("evaluate", here, found, "-o", out, "--cases", "a").code == 0


def test_a_spelling_mistake_is_one_line(cli: Callable[..., Run], truth: Path, tmp_path: Path) -> None:
    run = cli("evaluate", truth, tmp_path / "none", "-o", tmp_path / "scores.csv")
    assert run.code == 2
    assert f"{tmp_path / 'none'}: no such file or folder" in run.error


def test_labels_that_no_truth_has_are_told(cli: Callable[..., Run], truth: Path, tmp_path: Path) -> None:
    renumbered = {"a": np.where(boxes() == 5, 1, 2).astype(np.uint8)}
    run = cli(
        "evaluate",
        truth,
        write_folder(tmp_path / "found", renumbered),
        "-o",
        tmp_path / "s.csv",
        "--cases",
        "a",
    )
    assert run.code == 0
    assert "warning: no label of the truth is in any prediction" in run.error
    assert "the truth has 5, 7, the predictions have 1, 2." in run.error
    half = {"a": np.where(boxes() == 5, 1, boxes()).astype(np.uint8)}
    found = write_folder(tmp_path / "half", half)
    run = cli("evaluate", truth, found, "-o", tmp_path / "s.csv", "--cases", "a")
    assert run.error == "predicted, but in no truth, and not scored: label 1 (--labels scores them too)"


def test_torch_is_not_imported(truth: Path, tmp_path: Path) -> None:
    found = write_folder(tmp_path / "found", _FOUND)
    words = ["evaluate", str(truth), str(found), "-o", str(tmp_path / "scores.csv"), "--cases", "a"]
    code = f"import sys; from dmapsvc.cli import main; print(main({words!r}), 'torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "0 False"
