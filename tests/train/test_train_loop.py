from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dmapsvc.errors import BadFile, BadInput, BadLabels, Conflict, DeviceFailed
from dmapsvc.loader.patchloader import PatchLoader
from dmapsvc.region import SCALES, Scale
from dmapsvc.spec import MapSpec
from dmapsvc.store import Dataset
from dmapsvc.train import Checkpoint, Step, TrainSettings, VNet, train


def _settings(dataset: Dataset, **changes: Any) -> TrainSettings:
    few: dict[str, Any] = {
        "location": dataset.path,
        "out": dataset.path.parent / "vnet.pt",
        "patch": (16, 16, 16),
        "steps": 3,
        "width": 2,
        "rotation": 0.0,
        "threads": 1,
        "device": "cpu",
    }
    return TrainSettings(**(few | changes))


def _weights(path: Path) -> dict[str, torch.Tensor]:
    return Checkpoint.load(path).model


def test_training_lowers_the_loss(dataset: Dataset) -> None:
    steps: list[Step] = []
    train(_settings(dataset, steps=30, lr=3e-3), steps.append)
    assert [step.step for step in steps] == list(range(1, 31))
    assert {step.steps for step in steps} == {30}
    assert all(step.patches_per_second > 0 for step in steps)
    losses = [step.loss for step in steps]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])


@pytest.mark.parametrize("scale", SCALES)
def test_the_loss_is_the_penalised_one_in_the_scale_asked_for(dataset: Dataset, scale: Scale) -> None:
    """The first step made again from its parts, equation 2 written out."""
    reported: list[float] = []
    train(_settings(dataset, steps=1, scale=scale, seed=3), lambda step: reported.append(step.loss))
    with PatchLoader(dataset.path, patch=(16, 16, 16), scale=scale, seed=3) as patches:
        batch = next(iter(patches))
    torch.manual_seed(3)
    with torch.no_grad():
        log = VNet(in_channels=1, classes=3, width=2)(batch["image"]).log_softmax(1)
    entropy = -log.gather(1, batch["label"].long()[:, None])[:, 0]
    assert reported == [pytest.approx(((1 + batch["phi"]) * entropy).mean().item(), rel=1e-4)]


def test_the_checkpoint_is_plain_and_holds_what_using_it_needs(dataset: Dataset) -> None:
    path = train(_settings(dataset, scale="balanced"))
    content = torch.load(path, weights_only=True)
    assert content["format"] == "dmapsvc-checkpoint-2"
    checkpoint = Checkpoint.load(path)
    assert checkpoint.step == 3
    assert checkpoint.classes == (0, 4, 9)
    assert checkpoint.names == {4: "bright", 9: "dark"}
    assert checkpoint.spec == MapSpec()
    assert checkpoint.channels == 1
    assert (checkpoint.settings["scale"], checkpoint.settings["width"]) == ("balanced", 2)
    net = checkpoint.network()
    assert isinstance(net, VNet)
    assert net(torch.zeros(1, 1, 16, 16, 16)).shape == (1, 3, 16, 16, 16)
    assert [file.name for file in path.parent.iterdir() if file.suffix != ".zarr" and file.is_file()] == [
        "vnet.pt"
    ]


def test_one_seed_gives_one_result(dataset: Dataset) -> None:
    one, again, other = (
        _weights(train(_settings(dataset, out=dataset.path.parent / name, seed=seed)))
        for name, seed in (("one.pt", 7), ("again.pt", 7), ("other.pt", 8))
    )
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["entry.weight"], other["entry.weight"])


def test_running_again_goes_on_where_it_stopped(dataset: Dataset) -> None:
    train(_settings(dataset, steps=2))
    before = Checkpoint.load(dataset.path.parent / "vnet.pt")
    steps: list[int] = []
    path = train(_settings(dataset, steps=5), lambda step: steps.append(step.step))
    after = Checkpoint.load(path)
    assert steps == [3, 4, 5]
    assert {float(state["step"]) for state in before.optimizer["state"].values()} == {2.0}
    assert {float(state["step"]) for state in after.optimizer["state"].values()} == {
        5.0
    }  # Adam's moments go on
    assert not torch.equal(before.model["entry.weight"], after.model["entry.weight"])
    train(_settings(dataset, steps=5), lambda step: pytest.fail("nothing was left to do"))


def test_where_it_stopped_and_how_many_threads_read_change_nothing(dataset: Dataset) -> None:
    at_once = train(_settings(dataset, steps=4, rotation=20.0, out=dataset.path.parent / "at-once.pt"))
    train(_settings(dataset, steps=1, rotation=20.0))
    in_parts = train(_settings(dataset, steps=4, rotation=20.0, threads=3))
    one, other = _weights(at_once), _weights(in_parts)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_rotated_patches_are_other_patches(dataset: Dataset) -> None:
    still, turned = (
        _weights(train(_settings(dataset, rotation=rotation, out=dataset.path.parent / f"{rotation}.pt")))
        for rotation in (0.0, 90.0)
    )
    assert not torch.equal(still["entry.weight"], turned["entry.weight"])


def test_going_on_as_another_training_is_a_conflict(dataset: Dataset) -> None:
    train(_settings(dataset, steps=1))
    for change, says in (({"width": 3}, "width 2; this training has 3"), ({"scale": "none"}, "scale region")):
        with pytest.raises(Conflict, match=says):
            train(_settings(dataset, steps=2, **change))
    assert Checkpoint.load(dataset.path.parent / "vnet.pt").step == 1


def test_classes_stay_frozen(dataset: Dataset) -> None:
    path = train(_settings(dataset, steps=1))
    checkpoint = Checkpoint.load(path)
    dataclasses.replace(checkpoint, classes=(0, 4, 8)).save(path)  # as if label 9 had come later
    with pytest.raises(BadLabels, match=r"case '[ab]' has label 9; the classes are frozen as 0, 4, 8"):
        train(_settings(dataset, steps=2))


def test_going_on_with_other_cases_is_a_conflict_that_says_so(dataset: Dataset) -> None:
    path = train(_settings(dataset, steps=1))
    checkpoint = Checkpoint.load(path)
    before = {**checkpoint.patches, "cases": 1}  # as if one had been published since
    dataclasses.replace(checkpoint, patches=before).save(path)
    with pytest.raises(Conflict, match=r"vnet\.pt: .* 1 cases; .* has 2 now.*name another file"):
        train(_settings(dataset, steps=2))


def test_ctrl_c_saves_and_goes_on_to_the_caller(dataset: Dataset) -> None:
    def interrupt(step: Step) -> None:
        if step.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(_settings(dataset, steps=50), interrupt)
    assert Checkpoint.load(dataset.path.parent / "vnet.pt").step == 2


def test_a_batch_that_was_not_learnt_comes_again(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = train(_settings(dataset, steps=2, out=dataset.path.parent / "at-once.pt"))
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
        train(_settings(dataset, steps=2))
    monkeypatch.undo()
    assert Checkpoint.load(dataset.path.parent / "vnet.pt").step == 1
    one, other = _weights(at_once), _weights(train(_settings(dataset, steps=2)))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_ctrl_c_within_an_adam_step_waits_for_its_end(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_step = torch.optim.Adam.step

    def interrupted(optimizer: torch.optim.Adam) -> None:
        signal.raise_signal(signal.SIGINT)
        whole_step(optimizer)

    monkeypatch.setattr(torch.optim.Adam, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(_settings(dataset, steps=50))
    saved = Checkpoint.load(dataset.path.parent / "vnet.pt")
    assert saved.step == 1
    assert {float(state["step"]) for state in saved.optimizer["state"].values()} == {1.0}


def test_checkpoints_are_written_on_the_way(dataset: Dataset) -> None:
    out = dataset.path.parent / "new" / "vnet.pt"
    seen: list[int] = []
    train(
        _settings(dataset, steps=5, save_every=2, out=out),
        lambda step: seen.append(Checkpoint.load(out).step if out.exists() else 0),
    )
    assert seen == [0, 0, 2, 2, 4]
    assert Checkpoint.load(out).step == 5


def test_a_loss_that_is_not_finite_ends_it_and_keeps_the_checkpoint(dataset: Dataset) -> None:
    with pytest.raises(BadInput, match=r"the loss is (nan|inf) at step .*smaller lr"):
        train(_settings(dataset, steps=20, lr=1e9, save_every=1000))
    assert not (dataset.path.parent / "vnet.pt").exists()


def test_a_file_that_is_no_checkpoint_is_left_alone(dataset: Dataset) -> None:
    out = dataset.path.parent / "vnet.pt"
    for content in (b"", b"no archive", None):
        if content is None:
            torch.save({"state_dict": {}}, out)
        else:
            out.write_bytes(content)
        before = out.read_bytes()
        with pytest.raises(BadFile, match=r"vnet\.pt: .*wanted a checkpoint"):
            train(_settings(dataset))
        assert out.read_bytes() == before


def test_a_place_that_cannot_be_written_is_told_before_the_first_step(dataset: Dataset) -> None:
    blocked = dataset.path.parent / "file"
    blocked.write_text("in the way")
    with pytest.raises(BadInput, match=r"vnet\.pt: .*wanted a place"):
        train(_settings(dataset, out=blocked / "vnet.pt"), lambda step: pytest.fail("a step was made"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without CUDA")
def test_cuda_where_there_is_none(dataset: Dataset) -> None:
    with pytest.raises(DeviceFailed, match="no CUDA device"):
        train(_settings(dataset, device="cuda"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"patch": (16, 24, 16)}, "multiples of 16"),
        ({"patch": (0, 16, 16)}, "multiples of 16"),
        ({"batch": 0}, "batch is 0; wanted at least 1"),
        ({"steps": 0}, "steps is 0"),
        ({"threads": 0}, "threads is 0; wanted at least 1"),
        ({"rotation": 181.0}, "rotation is 181.0; wanted 0 to 180 degrees"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"foreground": 1.5}, "foreground is 1.5"),
        ({"scale": "mean"}, "wanted one of none, region, balanced"),
        ({"device": "tpu"}, "wanted one of auto, cpu, cuda"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        TrainSettings(**({"location": tmp_path, "out": tmp_path / "vnet.pt"} | change))


def test_a_checkpoint_may_be_read_by_whoever_may_read_a_new_file(dataset: Dataset, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    checkpoint = train(_settings(dataset, steps=1))
    assert checkpoint.stat().st_mode == plain.stat().st_mode
