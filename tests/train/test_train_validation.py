"""What is scored on the cases kept for it, and what follows from it."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dmapsvc.evaluate.measures import class_measures
from dmapsvc.loader.source import open_source
from dmapsvc.store import Dataset
from dmapsvc.train import Checkpoint, Step, train
from dmapsvc.train.parallel import Group
from dmapsvc.train.precision import MixedPrecision
from dmapsvc.train.predict import read_case, segment
from dmapsvc.train.split import Split
from dmapsvc.train.validation import Validator
from tests.train.train_runs import tiny

_CPU = torch.device("cpu")


def test_the_scores_are_those_of_whole_cases_without_cleaning(split_dataset: Dataset) -> None:
    Split(train=("a", "b"), valid=("c", "d", "e")).write(split := split_dataset.path.parent / "split.json")
    steps: list[Step] = []
    settings = tiny(split_dataset, steps=6, validate_every=3, split=split, lr=3e-3)
    run = train(settings, steps.append)
    net, source = run.checkpoint("last").network(), open_source(split_dataset.path)
    wanted = []
    for name in "cde":
        case = read_case(source, name, classes=(0, 4, 9))
        found = segment(net, case.image, patch=(16, 16, 16))
        both = class_measures(case.label, found, (1, 2), spacing=None, tolerance=1.0)
        wanted.append(np.mean([(one.g_dsc, one.b_dsc) for one in both.values()], axis=0))
    validation = steps[-1].validation
    assert validation is not None
    assert validation.step == 6
    assert (validation.g_dsc, validation.b_dsc) == pytest.approx(np.mean(wanted, axis=0))
    assert 0 < validation.b_dsc < validation.g_dsc < 1


def test_a_validation_tells_how_far_it_is(split_dataset: Dataset) -> None:
    """In cases, of which each is many windows; between the steps, and by the end of each all are through."""
    Split(train=("a", "b"), valid=("c", "d", "e")).write(split := split_dataset.path.parent / "split.json")
    told: list[float] = []
    train(
        tiny(split_dataset, steps=4, validate_every=2, split=split),
        lambda step: told.append(-step.step),
        on_validation=lambda done, total: told.append(done / total),
    )
    assert [said for said in told if said < 0] == [-1, -2, -3, -4]
    for step in (2, 4):
        validation = told[told.index(1 - step) + 1 : told.index(-step)]
        assert validation == sorted(validation)
        assert (validation[0], validation[-1]) == (0, 1)
        assert {1 / 3, 2 / 3} < set(validation)


def test_every_step_tells_the_latest_and_the_best(
    split_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    _script(monkeypatch, [0.5, 0.8, 0.6])
    steps: list[Step] = []
    run = train(tiny(split_dataset, steps=7, validate_every=2), steps.append)
    latest = [step.validation and step.validation.g_dsc for step in steps]
    best = [step.best and step.best.step for step in steps]
    assert latest == [None, 0.5, 0.5, 0.8, 0.8, 0.6, 0.6]
    assert best == [None, 2, 2, 4, 4, 4, 4]
    assert Checkpoint.load(run.best).step == 4
    assert Checkpoint.load(run.last).step == 7
    assert run.checkpoint().step == 4
    assert run.checkpoint("last").step == 7


def test_the_end_of_a_cosine_is_validated(split_dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    _script(monkeypatch, [0.5, 0.6, 0.7])
    run = train(tiny(split_dataset, steps=5, validate_every=2, schedule="cosine"))
    assert Checkpoint.load(run.best).step == 5


def test_the_best_is_chosen_by_the_measure_asked_for(
    split_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    for select, step in (("g_dsc", 2), ("b_dsc", 4)):
        _script(monkeypatch, [0.9, 0.8], b_dsc=[0.1, 0.2])
        out = split_dataset.path.parent / select
        run = train(tiny(split_dataset, steps=4, validate_every=2, select=select, out=out))
        assert Checkpoint.load(run.best).step == step
        monkeypatch.undo()


def test_the_history_has_a_row_for_each_validation(split_dataset: Dataset) -> None:
    losses: list[float] = []
    run = train(tiny(split_dataset, steps=5, validate_every=2), lambda step: losses.append(step.loss))
    rows = _rows(run.history)
    assert [row["step"] for row in rows] == ["2", "4"]
    assert [float(row["loss"]) for row in rows] == pytest.approx([np.mean(losses[:2]), np.mean(losses[2:4])])
    assert 0 < float(rows[0]["seconds"]) < float(rows[1]["seconds"])
    assert {row["lr"] for row in rows} == {"0.0001"}
    assert all(0 <= float(row["g_dsc"]) <= 1 for row in rows)


def test_a_training_shorter_than_that_is_validated_at_its_end(split_dataset: Dataset) -> None:
    run = train(tiny(split_dataset, steps=2, validate_every=250))
    assert [row["step"] for row in _rows(run.history)] == ["2"]
    assert run.best.exists()


def test_without_cases_to_validate_on_the_last_is_the_best_there_is(dataset: Dataset) -> None:
    steps: list[Step] = []
    run = train(tiny(dataset, steps=4, validate_every=2, patience=1), steps.append)
    assert len(steps) == 4
    assert not run.best.exists()
    assert run.checkpoint().step == 4
    rows = _rows(run.history)
    assert [(row["step"], row["g_dsc"], row["b_dsc"]) for row in rows] == [("2", "", ""), ("4", "", "")]


def test_looking_changes_nothing_that_is_learnt(split_dataset: Dataset) -> None:
    often, never = (
        train(tiny(split_dataset, steps=4, validate_every=every, out=split_dataset.path.parent / f"{every}"))
        for every in (1, 4)
    )
    one, other = (Checkpoint.load(run.last).model for run in (often, never))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_cases_stay_in_memory_as_long_as_there_is_room(
    split_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counted(source: Any, case: str, **arguments: Any) -> Any:
        read.append(case)
        return read_case(source, case, **arguments)

    monkeypatch.setattr("dmapsvc.train.validation.read_case", counted)
    monkeypatch.setattr("dmapsvc.train.validation.KEPT_BYTES", 24 * 32 * 32 * 6)  # one image and its label
    validator = Validator(
        open_source(split_dataset.path),
        ("a", "b"),
        classes=(0, 4, 9),
        patch=(16, 16, 16),
        precision=MixedPrecision.of("auto", _CPU),
        group=Group(rank=0, world=1, device=_CPU),
    )
    net = torch.nn.Conv3d(1, 3, 1)
    assert validator.score(net, 1).g_dsc == validator.score(net, 2).g_dsc
    assert read == ["a", "b", "b"]


def _script(monkeypatch: pytest.MonkeyPatch, g_dsc: list[float], b_dsc: list[float] | None = None) -> None:
    """Validations find these scores, one after the other."""
    scores = iter(zip(g_dsc, b_dsc or g_dsc, strict=True))
    real = Validator.score

    def scripted(validator: Validator, *arguments: Any) -> Any:
        first, second = next(scores)
        return dataclasses.replace(real(validator, *arguments), g_dsc=first, b_dsc=second)

    monkeypatch.setattr(Validator, "score", scripted)


def _rows(history: Path) -> list[dict[str, str]]:
    with history.open(newline="") as file:
        return list(csv.DictReader(file))
