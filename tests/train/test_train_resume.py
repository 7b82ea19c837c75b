"""A training goes on exactly where it stopped, or says why it cannot."""

from __future__ import annotations

import dataclasses
import os
import signal
from typing import Any

import pytest
import torch

from dmapsvc.errors import BadFile, BadInput, BadLabels, Conflict
from dmapsvc.store import Dataset
from dmapsvc.train import Checkpoint, RunFolder, Step, VNet, train
from dmapsvc.train.split import Split
from dmapsvc.train.validation import Validator
from tests.train.train_runs import publish, same, tiny, weights

_ALL_OF_IT: dict[str, Any] = {
    "steps": 20,
    "validate_every": 4,
    "save_every": 3,
    "schedule": "cosine",
    "rotation": 20.0,
    "lr": 3e-3,
    "patience": 20,
}


class _Stop(Exception):
    """The callback's way to end a run."""


def _stop_at(step: int) -> Any:
    def stop(now: Step) -> None:
        if now.step == step:
            raise _Stop

    return stop


def _state(run: RunFolder) -> dict[str, Any]:
    """All that a training knows after its last step, without the clock."""
    last = Checkpoint.load(run.last)
    rows = [[*row[:1], *row[2:]] for row in last.history["rows"]]
    pending = {name: last.history[name] for name in ("sum", "count")}
    return {
        "step": last.step,
        "model": last.model,
        "optimizer": last.optimizer["state"],
        "scaler": last.scaler,
        "patches": last.patches,
        "history": {"rows": rows, **pending},
        "best": Checkpoint.load(run.best).model,
        "best step": Checkpoint.load(run.best).step,
    }


def test_ten_and_ten_steps_are_twenty(split_dataset: Dataset) -> None:
    """Bit for bit: weights, Adam, the schedule, validations and which was the best."""
    folder = split_dataset.path.parent
    at_once = train(tiny(split_dataset, out=folder / "at-once", **_ALL_OF_IT))
    in_parts = tiny(split_dataset, out=folder / "in-parts", **_ALL_OF_IT)
    for step in (10, 16):
        with pytest.raises(_Stop):
            train(in_parts, _stop_at(step))
    assert same(_state(at_once), _state(train(dataclasses.replace(in_parts, threads=3))))
    lines = (folder / "in-parts" / "history.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", "4", "8", "12", "16", "20"]


def test_float16_goes_on_with_the_scale_of_its_gradients(dataset: Dataset) -> None:
    few: dict[str, Any] = {"width": 1, "batch": 1, "precision": "float16"}
    at_once = train(tiny(dataset, steps=2, out=dataset.path.parent / "at-once", **few))
    train(tiny(dataset, steps=1, **few))
    in_parts = train(tiny(dataset, steps=2, **few))
    one, other = (Checkpoint.load(run.last) for run in (at_once, in_parts))
    assert one.scaler["scale"] == 2**14  # both overflowed from 2**16, so the scale was halved twice
    assert one.scaler == other.scaler
    assert same(one.model, other.model)


def test_a_network_with_dropout_goes_on_exactly(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    real = VNet.forward
    monkeypatch.setattr(
        VNet, "forward", lambda net, image: torch.dropout(real(net, image), p=0.5, train=net.training)
    )
    at_once = train(tiny(dataset, steps=4, out=dataset.path.parent / "at-once"))
    train(tiny(dataset, steps=2))
    torch.rand(7)  # what happens in between is of no consequence
    assert same(weights(at_once), weights(train(tiny(dataset, steps=4))))


def test_more_steps_may_be_asked_for_of_a_constant_rate(dataset: Dataset) -> None:
    run = train(tiny(dataset, steps=2))
    before = Checkpoint.load(run.last)
    steps: list[int] = []
    train(tiny(dataset, steps=5), lambda step: steps.append(step.step))
    after = Checkpoint.load(run.last)
    assert steps == [3, 4, 5]
    assert {float(state["step"]) for state in before.optimizer["state"].values()} == {2.0}
    assert {float(state["step"]) for state in after.optimizer["state"].values()} == {5.0}
    assert not torch.equal(before.model["entry.weight"], after.model["entry.weight"])
    train(tiny(dataset, steps=5), lambda step: pytest.fail("nothing was left to do"))


def test_patience_that_ended_a_run_ends_it_again(
    split_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.5, 0.7, 0.7, 0.6])
    real = Validator.score

    def scripted(validator: Validator, *arguments: Any) -> Any:
        return dataclasses.replace(real(validator, *arguments), b_dsc=next(scores))

    monkeypatch.setattr(Validator, "score", scripted)
    settings = tiny(split_dataset, steps=20, validate_every=2, patience=2, select="b_dsc")
    run = train(settings)
    assert Checkpoint.load(run.last).step == 8
    assert Checkpoint.load(run.best).step == 4
    train(settings, lambda step: pytest.fail("it had ended"))


def test_going_on_as_another_training_is_a_conflict(dataset: Dataset) -> None:
    run = train(tiny(dataset, steps=1))
    for change, says in (
        ({"width": 3}, "width 2; this training has 3"),
        ({"scale": "none"}, "scale region"),
        ({"schedule": "cosine"}, "schedule constant; this training has cosine"),
    ):
        with pytest.raises(Conflict, match=says):
            train(tiny(dataset, steps=2, **change))
    assert Checkpoint.load(run.last).step == 1
    assert run.read_settings().width == 2


def test_classes_stay_frozen(dataset: Dataset) -> None:
    run = train(tiny(dataset, steps=1))
    checkpoint = Checkpoint.load(run.last)
    dataclasses.replace(checkpoint, classes=(0, 4, 8)).save(run.last)  # as if label 9 had come later
    with pytest.raises(BadLabels, match=r"case '[ab]' has label 9; the classes are frozen as 0, 4, 8"):
        train(tiny(dataset, steps=2))


def test_cases_that_come_later_are_not_drawn(split_dataset: Dataset) -> None:
    run = train(tiny(split_dataset, steps=1))
    at_once = train(tiny(split_dataset, steps=2, out=split_dataset.path.parent / "at-once"))
    publish(split_dataset, "later", 7)
    assert same(weights(train(tiny(split_dataset, steps=2))), weights(at_once))
    assert "later" not in run.split.read_text()


def test_going_on_with_other_cases_is_a_conflict_that_says_so(dataset: Dataset) -> None:
    run = train(tiny(dataset, steps=1))
    checkpoint = Checkpoint.load(run.last)
    before = {**checkpoint.patches, "cases": 1}
    dataclasses.replace(checkpoint, patches=before).save(run.last)
    with pytest.raises(Conflict, match=r"last\.pt: .* 1 cases; .* has 2 now.*name another folder"):
        train(tiny(dataset, steps=2))


def test_ctrl_c_saves_and_goes_on_to_the_caller(dataset: Dataset) -> None:
    def interrupt(step: Step) -> None:
        if step.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(tiny(dataset, steps=50), interrupt)
    assert Checkpoint.load(dataset.path.parent / "run" / "last.pt").step == 2


def test_a_batch_that_was_not_learnt_comes_again(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = train(tiny(dataset, steps=2, out=dataset.path.parent / "at-once"))
    real = VNet.forward
    calls = 0

    def interrupted_in_the_second(net: VNet, image: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return real(net, image)

    monkeypatch.setattr(VNet, "forward", interrupted_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(dataset, steps=2))
    monkeypatch.undo()
    assert Checkpoint.load(dataset.path.parent / "run" / "last.pt").step == 1
    assert same(weights(at_once), weights(train(tiny(dataset, steps=2))))


def test_ctrl_c_within_an_adam_step_waits_for_its_end(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_step = torch.optim.Adam.step

    def interrupted(optimizer: torch.optim.Adam) -> None:
        signal.raise_signal(signal.SIGINT)
        whole_step(optimizer)

    monkeypatch.setattr(torch.optim.Adam, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(dataset, steps=50))
    saved = Checkpoint.load(dataset.path.parent / "run" / "last.pt")
    assert saved.step == 1
    assert {float(state["step"]) for state in saved.optimizer["state"].values()} == {1.0}


def test_a_validation_that_was_interrupted_is_made_up_for(
    split_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"steps": 6, "validate_every": 3, "save_every": 1000}
    at_once = train(tiny(split_dataset, out=split_dataset.path.parent / "at-once", **wanted))

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Validator, "score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(split_dataset, **wanted))
    monkeypatch.undo()
    assert Checkpoint.load(split_dataset.path.parent / "run" / "last.pt").step == 3
    assert same(_state(at_once), _state(train(tiny(split_dataset, **wanted))))


def test_a_run_killed_between_its_two_checkpoints_makes_the_best_again(
    split_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny(split_dataset, steps=4, validate_every=2)
    real = Checkpoint.save

    def killed(checkpoint: Checkpoint, path: Any) -> None:
        if path.name == "best.pt":
            raise _Stop
        real(checkpoint, path)

    monkeypatch.setattr(Checkpoint, "save", killed)
    with pytest.raises(_Stop):
        train(settings)
    monkeypatch.undo()
    run = RunFolder(settings.out)
    assert not run.best.exists()
    train(dataclasses.replace(settings, steps=2))
    assert Checkpoint.load(run.best).step == 2


def test_checkpoints_are_written_on_the_way(dataset: Dataset) -> None:
    out = dataset.path.parent / "new" / "run"
    seen: list[int] = []
    train(
        tiny(dataset, steps=5, save_every=2, out=out),
        lambda step: seen.append(Checkpoint.load(out / "last.pt").step if (out / "last.pt").exists() else 0),
    )
    assert seen == [0, 0, 2, 2, 4]
    assert Checkpoint.load(out / "last.pt").step == 5


def test_a_file_that_is_no_checkpoint_is_left_alone(dataset: Dataset) -> None:
    last = dataset.path.parent / "run" / "last.pt"
    last.parent.mkdir()
    for content in (b"", b"no archive", None):
        if content is None:
            torch.save({"state_dict": {}}, last)
        else:
            last.write_bytes(content)
        before = last.read_bytes()
        with pytest.raises(BadFile, match=r"last\.pt: .*wanted a checkpoint"):
            train(tiny(dataset))
        assert last.read_bytes() == before


def test_a_place_that_cannot_be_written_is_told_before_the_first_step(dataset: Dataset) -> None:
    blocked = dataset.path.parent / "file"
    blocked.write_text("in the way")
    for out in (blocked, blocked / "run"):
        with pytest.raises(BadInput, match=r"wanted a folder to write to"):
            train(tiny(dataset, out=out), lambda step: pytest.fail("a step was made"))


def test_two_at_once_in_one_folder_are_refused(dataset: Dataset) -> None:
    def another(step: Step) -> None:
        with pytest.raises(Conflict, match="run: another training is at work there"):
            train(tiny(dataset, steps=2))

    run = train(tiny(dataset, steps=1), another)
    assert Checkpoint.load(run.last).step == 1


def test_what_a_killed_run_left_half_written_goes(dataset: Dataset) -> None:
    run = train(tiny(dataset, steps=1))
    (run.path / ".last.pt.0123abcd.part").write_bytes(b"half of it")
    train(tiny(dataset, steps=2))
    assert not list(run.path.glob(".*.part"))


def test_a_split_that_is_given_in_the_run_folder_itself_is_taken(split_dataset: Dataset) -> None:
    out = split_dataset.path.parent / "run"
    out.mkdir()
    given = Split(train=("a", "b"), valid=("c",), test=("d",))
    given.write(out / "split.json")
    run = train(tiny(split_dataset, out=out, steps=1, split=out / "split.json"))
    assert Split.read(run.split) == given


def test_fewer_steps_than_are_done_change_nothing(split_dataset: Dataset) -> None:
    run = train(tiny(split_dataset, steps=3, validate_every=2))
    before = run.history.read_text()
    train(tiny(split_dataset, steps=1, validate_every=2), lambda step: pytest.fail("a step was made"))
    assert run.history.read_text() == before


def test_a_best_checkpoint_of_another_run_is_not_taken_for_ones_own(dataset: Dataset) -> None:
    run = train(tiny(dataset, steps=1))
    run.last.rename(run.best)
    with pytest.raises(Conflict, match=r"best\.pt without the last\.pt"):
        train(tiny(dataset))


def test_a_beginning_that_came_to_nothing_leaves_no_split_behind(split_dataset: Dataset) -> None:
    def interrupt(step: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny(split_dataset, split_seed=1), on_start=interrupt)
    run = train(tiny(split_dataset, split_seed=2, steps=1))
    fresh = train(tiny(split_dataset, split_seed=2, steps=1, out=run.path.parent / "fresh"))
    assert run.split.read_text() == fresh.split.read_text()


def test_a_folder_of_other_things_is_left_alone(dataset: Dataset) -> None:
    labels = dataset.path.parent / "labels"
    labels.mkdir()
    (labels / "case01.nii.gz").touch()
    with pytest.raises(
        Conflict, match=r"labels: a folder with case01\.nii\.gz; a run wants a folder of its own"
    ):
        train(tiny(dataset, out=labels))
    assert [path.name for path in labels.iterdir()] == ["case01.nii.gz"]


@pytest.mark.parametrize("settings", ['{"window.zoomLevel": 1}', '{"width": 2}', "[]", "no JSON"])
def test_the_settings_of_something_else_are_no_run(dataset: Dataset, settings: str) -> None:
    out = dataset.path.parent / "run"
    out.mkdir()
    files = {"settings.json": settings, "history.csv": "what happened", "split.json": "{}"}
    for name, text in files.items():
        (out / name).write_text(text)
    with pytest.raises(Conflict, match=r"run: a folder with history\.csv"):
        train(tiny(dataset, out=out))
    assert {path.name: path.read_text() for path in out.iterdir()} == files


def test_a_split_that_no_run_wrote_is_neither_taken_nor_removed(split_dataset: Dataset) -> None:
    out = split_dataset.path.parent / "run"
    out.mkdir()
    Split(train=("a",), valid=("b",)).write(out / "split.json")
    before = (out / "split.json").read_bytes()
    with pytest.raises(Conflict, match=r"split\.json: a split that no run wrote; .* Give it with --split"):
        train(tiny(split_dataset, out=out))
    assert (out / "split.json").read_bytes() == before
    assert [path.name for path in out.iterdir()] == ["split.json"]


def test_a_beginning_that_ended_before_its_network_is_known_as_a_run(
    split_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise _Stop

    monkeypatch.setattr("dmapsvc.train.opening.make_network", killed)
    with pytest.raises(_Stop):
        train(tiny(split_dataset))
    monkeypatch.undo()
    assert train(tiny(split_dataset, steps=1)).last.exists()


def test_a_second_ctrl_c_does_not_cost_what_the_first_one_saves(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, saved = Checkpoint.save, list[int]()

    def interrupted(checkpoint: Checkpoint, path: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        real(checkpoint, path)

    def interrupt(step: Step) -> None:
        if step.step == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Checkpoint, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(dataset, steps=50), interrupt, on_save=saved.append)
    assert Checkpoint.load(dataset.path.parent / "run" / "last.pt").step == 2
    assert saved == [2]
