"""What a training learns, and from what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dmapsvc.errors import BadInput, Diverged, NotFound
from dmapsvc.loader.patchloader import PatchLoader
from dmapsvc.region import SCALES, Scale
from dmapsvc.spec import MapSpec
from dmapsvc.store import Dataset
from dmapsvc.train import Start, Step, VNet, train
from tests.train.train_runs import publish, same, tiny, weights


def test_training_lowers_the_loss(dataset: Dataset) -> None:
    starts: list[Start] = []
    steps: list[Step] = []
    train(tiny(dataset, steps=30, lr=3e-3), steps.append, starts.append)
    assert [step.step for step in steps] == list(range(1, 31))
    assert {step.steps for step in steps} == {30}
    assert {step.lr for step in steps} == {3e-3}
    assert all(step.patches_per_second > 0 for step in steps)
    losses = [step.loss for step in steps]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
    [start] = starts
    assert (start.step, start.device, start.precision, start.processes) == (0, "cpu", "float32", 1)
    assert (start.split.train, start.split.valid) == (("a", "b"), ())
    assert start.parameters == sum(one.numel() for one in VNet(classes=3, width=2).parameters())


@pytest.mark.parametrize("scale", SCALES)
def test_the_loss_is_the_penalised_one_in_the_scale_asked_for(dataset: Dataset, scale: Scale) -> None:
    """The first step made again from its parts, equation 2 written out."""
    reported: list[float] = []
    train(tiny(dataset, steps=1, scale=scale, seed=3), lambda step: reported.append(step.loss))
    batch, log = _first_batch(dataset, scale)
    entropy = -log.gather(1, batch["label"].long()[:, None])[:, 0]
    assert reported == [pytest.approx(((1 + batch["phi"]) * entropy).mean().item(), rel=1e-4)]


def test_another_loss_is_learnt_from_if_asked_for(dataset: Dataset) -> None:
    reported: list[float] = []
    train(
        tiny(dataset, steps=1, loss="weighted-cross-entropy", seed=3), lambda step: reported.append(step.loss)
    )
    batch, log = _first_batch(dataset, "region")
    target = batch["label"].long()
    voxels = np.zeros(3)
    for case in "ab":
        record = dataset.record(case)
        assert record is not None
        for region in record.regions:
            voxels[[0, 4, 9].index(region.value)] += region.voxels
    weight = torch.tensor(voxels.sum() / (3 * voxels), dtype=torch.float32)[target]
    entropy = -log.gather(1, target[:, None])[:, 0]
    assert reported == [pytest.approx(((weight * entropy).sum() / weight.sum()).item(), rel=1e-4)]


def _first_batch(dataset: Dataset, scale: Scale) -> tuple[Any, torch.Tensor]:
    """The first patches of seed 3, and the log-probabilities that its first weights give them."""
    with PatchLoader(dataset.path, patch=(16, 16, 16), scale=scale, seed=3) as patches:
        batch = next(iter(patches))
    torch.manual_seed(3)
    with torch.no_grad():
        return batch, VNet(in_channels=1, classes=3, width=2)(batch["image"]).log_softmax(1)


def test_the_step_is_adams_at_the_rate_of_the_schedule(dataset: Dataset) -> None:
    """Two steps of the loop against two of torch's plain Adam on the same patches."""
    run = train(tiny(dataset, steps=2, lr=1e-3, schedule="cosine", loss="cross-entropy", seed=3))
    torch.manual_seed(3)
    net = VNet(in_channels=1, classes=3, width=2)
    optimizer = torch.optim.Adam(net.parameters())
    with PatchLoader(dataset.path, patch=(16, 16, 16), seed=3) as patches:
        for rate, batch in zip((1e-3, 0.5e-3), patches, strict=False):
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(batch["image"]), batch["label"].long())
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    for name, learnt in weights(run).items():
        torch.testing.assert_close(learnt, net.state_dict()[name], rtol=1e-3, atol=2e-5)


def test_one_seed_gives_one_result(dataset: Dataset) -> None:
    one, again, other = (
        weights(train(tiny(dataset, out=dataset.path.parent / name, seed=seed)))
        for name, seed in (("one", 7), ("again", 7), ("other", 8))
    )
    assert same(one, again)
    assert not torch.equal(one["entry.weight"], other["entry.weight"])


def test_the_callers_random_numbers_are_not_touched(dataset: Dataset) -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    train(tiny(dataset, steps=1))
    assert torch.equal(torch.rand(3), wanted)


def test_rotated_patches_are_other_patches(dataset: Dataset) -> None:
    still, turned = (
        weights(train(tiny(dataset, rotation=rotation, out=dataset.path.parent / f"{rotation}")))
        for rotation in (0.0, 90.0)
    )
    assert not torch.equal(still["entry.weight"], turned["entry.weight"])


def test_only_training_cases_are_learnt_from(split_dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: set[str] = set()
    real = PatchLoader.__iter__

    def watched(patches: PatchLoader) -> Any:
        for batch in real(patches):
            drawn.update(batch["case"])
            yield batch

    monkeypatch.setattr(PatchLoader, "__iter__", watched)
    starts: list[Start] = []
    train(tiny(split_dataset, steps=8), on_start=starts.append)
    assert drawn == set(starts[0].split.train)
    assert len(drawn) == 3


def test_a_loss_that_is_not_finite_ends_it_and_keeps_the_checkpoint(dataset: Dataset) -> None:
    with pytest.raises(Diverged, match=r"the loss is (nan|inf) at step .*smaller lr"):
        train(tiny(dataset, steps=20, lr=1e9, save_every=1000))
    assert not (dataset.path.parent / "run" / "last.pt").exists()


def test_cases_without_an_image_are_named_before_anything_starts(split_dataset: Dataset) -> None:
    for number in range(7):
        publish(split_dataset, f"bare-{number}", number, with_image=False)
    with pytest.raises(NotFound) as caught:
        train(tiny(split_dataset), lambda step: pytest.fail("a step was made"))
    for number in range(5):
        assert f"bare-{number}" in str(caught.value)
    assert "boxes: 7 of 13 cases have no image" in str(caught.value)
    assert " and 2 more;" in str(caught.value)
    assert "--images" in str(caught.value)


def test_a_dataset_without_cases(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no case is published"):
        train(tiny(Dataset.create(tmp_path / "none.zarr", MapSpec())))


@pytest.mark.gpu
def test_a_training_on_cuda_learns_and_goes_on(split_dataset: Dataset) -> None:
    starts: list[Start] = []
    losses: list[float] = []
    for steps in (20, 30):
        settings = tiny(split_dataset, steps=steps, lr=3e-3, device="cuda", validate_every=10)
        train(settings, lambda step: losses.append(step.loss), starts.append)
    assert [start.step for start in starts] == [0, 20]
    assert {(start.device, start.precision != "float32") for start in starts} == {("cuda:0", True)}
    assert len(losses) == 30
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])


def test_cuda_where_there_is_none(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(BadInput, match="no CUDA device"):
        train(tiny(dataset, device="cuda"))
