"""A comparison from end to end, with real trainings: what is done, when, and what a second call adds."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dmapsvc.compare import Config, Listener, Result, compare
from dmapsvc.compare.task import Task, work
from dmapsvc.errors import BadInput, Conflict, Diverged
from dmapsvc.evaluate.scores import read_scores
from dmapsvc.store import Dataset
from dmapsvc.train import RunFolder
from dmapsvc.train.lock import alone_in
from dmapsvc.train.split import Split

TINY: dict[str, Any] = {
    "patch": (16, 16, 16),
    "steps": 4,
    "width": 2,
    "validate_every": 2,
    "batch": 1,
    "rotation": 0.0,
    "threads": 1,
    "device": "cpu",
}
TWO = ("penalty-region", "cross-entropy")
SEARCH: dict[str, tuple[Any, ...]] = {"lr": (1e-6, 1e-2)}

Ends = dict[str, str | None]


def _config(**changes: Any) -> Config:
    """With two jobs a run has one thread: threads of tiny layers wait for each other on busy cores."""
    few: dict[str, Any] = {"contenders": TWO, "seeds": 1, "jobs": 2, "train": TINY}
    return Config(**(few | changes))


def _compare(config: Config, dataset: Dataset, out: Path) -> tuple[Result, Ends]:
    ends: Ends = {}
    return compare(config, dataset.path, out, Listener(ended=ends.__setitem__)), ends


def _files(out: Path) -> dict[str, bytes]:
    """The scores of every run by its name."""
    return {str(path.parent.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("scores.csv"))}


@pytest.mark.usefixtures("here")
def test_search_then_train_then_score_then_report(dataset: Dataset, out: Path) -> None:
    config = _config(seeds=2, search=SEARCH, search_steps=2, components=1)
    result, ends = _compare(config, dataset, out)
    assert list(ends) == [
        *(f"search/{contender}/lr={lr}/seed-1000" for lr in ("1e-06", "0.01") for contender in TWO),
        *(f"runs/{contender}/seed-{seed}" for seed in (0, 1) for contender in TWO),
    ]
    assert set(ends.values()) == {None}
    assert result.failed == {}
    assert len(result.scored) == 4
    split = Split.read(out / "split.json")
    assert [len(side) for side in split.sides.values()] == [3, 1, 2]
    for name in result.scored:
        run = RunFolder(out / name)
        settings = run.read_settings()
        assert settings.steps == 4
        assert {settings.lr} == set(result.chosen[name.split("/")[1]].values())
        assert Split.read(run.split) == split
        scores = read_scores(run.path / "scores.csv")
        assert {(score.case, score.label) for score in scores} == {
            (case, label) for case in split.test for label in (4, 9)
        }
        assert {file.name.partition(".")[0] for file in (run.path / "predictions").glob("*.nii.gz")} == set(
            split.test
        )
    assert result.report is not None
    assert result.report.is_file()


@pytest.mark.usefixtures("here", "unreported")
def test_the_choice_is_the_best_validation(dataset: Dataset, out: Path) -> None:
    config = _config(train={**TINY, "select": "b_dsc"}, search=SEARCH)
    result, _ = _compare(config, dataset, out)
    with (out / "search.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for contender in TWO:
        best: dict[str, float] = {}
        for row in rows:
            if row["contender"] == contender:
                folder = out / "search" / contender / row["values"] / f"seed-{row['seed']}"
                with (folder / "history.csv").open(newline="") as file:
                    best[row["values"]] = max(float(line["b_dsc"]) for line in csv.DictReader(file))
                assert float(row["score"]) == pytest.approx(best[row["values"]], abs=1e-6)
        taken = [row["values"] for row in rows if row["contender"] == contender and row["chosen"] == "yes"]
        assert taken == [max(best, key=lambda values: best[values])]
        assert f"lr={result.chosen[contender]['lr']:g}" == taken[0]


def _failing(monkeypatch: pytest.MonkeyPatch, fails: Callable[[Task], bool], error: Exception) -> None:
    def work_or_fail(task: Task, tell: Callable[[Any], None]) -> None:
        if fails(task):
            raise error
        work(task, tell)

    monkeypatch.setattr("dmapsvc.compare.comparison.work", work_or_fail)


@pytest.mark.usefixtures("here", "unreported")
def test_no_test_case_is_scored_before_every_contender_is_chosen(
    dataset: Dataset, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config(search=SEARCH, search_steps=2)
    lost = "search/penalty-region/lr=0.01/seed-1000"
    with monkeypatch.context() as patched:
        _failing(patched, lambda task: task.run.name == lost, BadInput("last.pt: no space left"))
        first, ends = _compare(config, dataset, out)
    assert ends["runs/cross-entropy/seed-0"] is None, "the others are trained meanwhile"
    assert set(first.failed) == {lost, "penalty-region"}
    assert first.scored == ()
    assert first.report is None
    assert not list(out.rglob("predictions"))

    second, ends = _compare(config, dataset, out)
    assert list(ends) == [lost, "runs/penalty-region/seed-0", "runs/cross-entropy/seed-0"]
    assert len(second.scored) == 2
    assert second.failed == {}


@pytest.mark.usefixtures("here", "unreported")
def test_values_that_cannot_be_trained_with_are_not_taken(
    dataset: Dataset, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config(search={"lr": (1e-3, 1e9)})
    nan = Diverged("the loss is nan")
    _failing(
        monkeypatch,
        lambda task: task.run.settings.lr == 1e9 or task.run.contender == "cross-entropy",
        nan,
    )
    result, _ = _compare(config, dataset, out)
    assert result.chosen == {"penalty-region": {"lr": 1e-3}}
    assert result.scored == ("runs/penalty-region/seed-0",)
    assert set(result.failed) == {"cross-entropy"}, "values that cannot be trained with are no failed run"
    assert "none of the values" in result.failed["cross-entropy"]
    again, ends = _compare(config, dataset, out)
    assert ends == {}, "the choice stands, and what it left out is not tried again"
    assert set(again.failed) == {"cross-entropy"}
    fewer, _ = _compare(dataclasses.replace(config, contenders=TWO[:1]), dataset, out)
    assert fewer.failed == {}
    assert len((out / "search.csv").read_text().splitlines()) == 1 + 4, "of contenders left out now, too"


@pytest.mark.usefixtures("here", "unreported")
def test_what_failed_is_made_again_and_what_is_through_is_not(
    dataset: Dataset, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config()
    with monkeypatch.context() as patched:
        _failing(patched, lambda task: task.run.contender == "cross-entropy", BadInput("something is wrong"))
        first, ends = _compare(config, dataset, out)
    assert first.failed == {"runs/cross-entropy/seed-0": "something is wrong."}
    assert first.scored == ("runs/penalty-region/seed-0",)
    before = _files(out)

    second, ends = _compare(config, dataset, out)
    assert list(ends) == ["runs/cross-entropy/seed-0"]
    assert second.failed == {}
    assert _files(out).items() > before.items()


@pytest.mark.usefixtures("here", "unreported")
def test_contenders_and_seeds_may_be_added_and_nothing_else_may_change(dataset: Dataset, out: Path) -> None:
    config = _config(contenders=TWO[:1])
    _compare(config, dataset, out)
    more, ends = _compare(dataclasses.replace(config, contenders=TWO, seeds=2), dataset, out)
    assert len(ends) == 3
    assert len(more.scored) == 4
    for change, says in (
        (
            {"train": {**TINY, "width": 3}},
            r"comparison\.json: a comparison with \[train\] width 2; this one has 3",
        ),
        ({"components": 3}, "a comparison with components 0; this one has 3"),
    ):
        with pytest.raises(Conflict, match=says):
            _compare(dataclasses.replace(config, **change), dataset, out)
    assert json.loads((out / "comparison.json").read_text())["seeds"] == 2


def test_cases_that_changed_since_are_refused_and_a_dataset_that_moved_is_not(
    dataset: Dataset, out: Path, tmp_path: Path
) -> None:
    config = _config(contenders=TWO[:1])
    _compare(config, dataset, out)
    moved = Dataset.open(Path(shutil.copytree(dataset.path, tmp_path / "moved.zarr")))
    again, ends = _compare(config, moved, out)
    assert (again.failed, ends) == ({}, {})
    other = np.ones((16, 16, 16), dtype=np.float32)
    moved.publish_image("b", other, spacing=(1.0, 1.0, 1.0), affine=None, sha256="f" * 64)
    with pytest.raises(Conflict, match=r"moved: not as when the comparison began: b; all runs of"):
        _compare(config, moved, out)


def test_two_at_once_in_one_folder_are_refused(dataset: Dataset, out: Path) -> None:
    with (
        alone_in(out, what="comparison"),
        pytest.raises(Conflict, match="another comparison is at work there"),
    ):
        compare(_config(), dataset.path, out)


@pytest.mark.parametrize(
    ("split", "search", "says"),
    [
        (Split(train=("a", "b"), valid=("c",)), {}, "2 training, 1 validation and 0 test cases"),
        (Split(train=("a", "b"), test=("c",)), SEARCH, "values are chosen by the validation cases"),
        (Split(train=("a", "nobody"), test=("c",)), {}, "nobody"),
    ],
)
def test_a_split_that_will_not_do_is_told_before_anything_runs(
    dataset: Dataset, out: Path, tmp_path: Path, split: Split, search: dict[str, Any], says: str
) -> None:
    split.write(tmp_path / "split.json")
    config = _config(train={**TINY, "split": tmp_path / "split.json"}, search=search)
    with pytest.raises(BadInput, match=says):
        compare(config, dataset.path, out)
    assert not (out / "runs").exists()
    assert not (out / "comparison.json").exists(), "it can be mended and asked again"


def test_a_folder_of_other_things_is_left_alone(dataset: Dataset, out: Path) -> None:
    out.mkdir(exist_ok=True)
    (out / "notes.txt").touch()
    with pytest.raises(Conflict, match=r"a folder with notes\.txt"):
        compare(_config(), dataset.path, out)
    assert [path.name for path in out.glob("[!.]*")] == ["notes.txt"]
