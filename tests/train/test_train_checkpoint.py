"""What the files of a run hold, and who may read them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dmapsvc.errors import BadFile, BadInput, DmapsvcError
from dmapsvc.spec import MapSpec
from dmapsvc.store import Dataset
from dmapsvc.train import Checkpoint, RunFolder, VNet, train
from dmapsvc.train.split import Split
from tests.train.train_runs import tiny


def test_a_run_folder_holds_what_using_it_and_going_on_need(split_dataset: Dataset) -> None:
    settings = tiny(split_dataset, scale="balanced", validate_every=2, steps=2)
    run = train(settings)
    assert {path.name for path in run.path.iterdir()} == {
        "settings.json",
        "split.json",
        "history.csv",
        "last.pt",
        "best.pt",
        "tensorboard",
    }
    assert run.read_settings().to_json() == settings.to_json()
    split = Split.read(run.split)
    assert (len(split.train), len(split.valid), len(split.test)) == (3, 1, 2)
    assert list(run.tensorboard.iterdir())


def test_the_checkpoint_is_plain_and_holds_what_using_it_needs(dataset: Dataset) -> None:
    run = train(tiny(dataset, scale="balanced"))
    content = torch.load(run.last, weights_only=True)
    assert content["format"] == "dmapsvc-checkpoint-3"
    checkpoint = Checkpoint.load(run.last)
    assert checkpoint.step == 3
    assert checkpoint.classes == (0, 4, 9)
    assert checkpoint.names == {4: "bright", 9: "dark"}
    assert checkpoint.spec == MapSpec()
    assert checkpoint.channels == 1
    assert (checkpoint.settings["scale"], checkpoint.settings["width"]) == ("balanced", 2)
    net = checkpoint.network()
    assert isinstance(net, VNet)
    assert net(torch.zeros(1, 1, 16, 16, 16)).shape == (1, 3, 16, 16, 16)


@pytest.mark.parametrize("name", ["monai-unet"])
def test_a_network_by_name_comes_back_with_its_weights(split_dataset: Dataset, name: str) -> None:
    run = train(tiny(split_dataset, net=name, steps=1, patch=(16, 16, 16)))
    torch.manual_seed(1)
    wanted = torch.rand(2)
    torch.manual_seed(1)
    net = run.checkpoint().network()
    assert torch.equal(torch.rand(2), wanted)  # making it draws none of the caller's numbers
    assert type(net).__name__ == "UNet"
    for key, value in run.checkpoint("last").model.items():
        assert torch.equal(net.state_dict()[key], value)


def test_the_best_checkpoint_has_only_what_using_it_needs(split_dataset: Dataset) -> None:
    run = train(tiny(split_dataset, steps=1))
    best, last = Checkpoint.load(run.best), Checkpoint.load(run.last)
    assert best.optimizer == best.patches == best.history == {}
    assert best.settings == last.settings
    assert all(torch.equal(best.model[name], last.model[name]) for name in last.model)
    assert run.best.stat().st_size < 0.5 * run.last.stat().st_size


def test_files_may_be_read_by_whoever_may_read_a_new_file(split_dataset: Dataset, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    run = train(tiny(split_dataset, steps=1))
    for path in (run.last, run.best, run.history, run.settings, run.split):
        assert path.stat().st_mode == plain.stat().st_mode


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "none")
    with pytest.raises(BadFile, match=r"none: no run folder, so no last\.pt; wanted a run folder that"):
        run.checkpoint()
    with pytest.raises(BadFile, match=r"settings\.json: No such file"):
        run.read_settings()


def test_a_full_disk_is_told_and_leaves_the_checkpoint_before(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(tiny(dataset, steps=1))
    before = run.last.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(DmapsvcError, match=r"last\.pt: .*No space left on device.*Make room") as caught:
        train(tiny(dataset, steps=2))
    assert not isinstance(caught.value, BadInput), "what was given is not at fault"
    assert run.last.read_bytes() == before
    assert not [path for path in run.path.iterdir() if path.suffix == ".part"]
