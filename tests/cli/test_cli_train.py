"""`train` hands over what was asked for, and its run is gone on with."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dmapsvc.cli import train
from dmapsvc.cli.options import parse_sides
from dmapsvc.cli.output import Meter
from dmapsvc.cli.train_view import TrainView
from dmapsvc.train import parallel
from dmapsvc.train.learner import Learner
from dmapsvc.train.names import LOSSES, NETWORKS
from dmapsvc.train.progress import Step
from dmapsvc.train.settings import FIELDS, TrainSettings
from tests.cli.cli_run import Run

TINY = ("--net", "vnet", "--patch", "16,16,16", "--width", "1", "--batch", "1", "--threads", "1")
QUICK = (*TINY, "--lr", "0.001", "--device", "cpu")

Cli = Callable[..., Run]


@pytest.fixture
def store(cli: Cli, masks: Path, tmp_path: Path) -> Path:
    """Two cases with images: too few for validation."""
    store = tmp_path / "knees.zarr"
    (masks / "sub" / "c.nii.gz").unlink()  # it has no image
    cli("precompute", masks, store, "--images", tmp_path / "images", "--backend", "scipy")
    return store


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """`a` to train on, `b` to validate."""
    path = tmp_path / "split.json"
    path.write_text('{"train": ["a"], "valid": ["b"]}')
    return path


def test_a_training_and_its_continuation(cli: Cli, store: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = cli("train", store, "-o", out, "--steps", "2", *QUICK)
    assert run.code == 0, run.err
    assert re.fullmatch(rf"{out}: step 2 of 2, loss [\d.]+, [\d.]+ patches/s\n", run.out)
    assert (out / "last.pt").exists()

    on = cli("train", store, "-o", out, "--steps", "3", *QUICK)
    assert on.out.startswith(f"{out}: step 3 of 3, loss ")
    assert f"run folder {out}, goes on at step 2" in on.err
    idle = cli("train", store, "-o", out, "--steps", "3", *QUICK)
    assert (idle.code, idle.out) == (0, f"{out}: it has its 3 steps already\n")
    other = cli("train", store, "-o", out, "--steps", "3", *QUICK, "--seed", "1")
    assert other.code == 2
    assert "seed" in other.error


def test_it_says_what_it_trains_on_what_and_where(cli: Cli, store: Path, split: Path, tmp_path: Path) -> None:
    run = cli("train", store, "-o", tmp_path / "run", "--steps", "1", "--split", split, *QUICK)
    said = run.err.splitlines()
    assert re.fullmatch(
        r"vnet of width 1, [\d,]+ parameters; loss penalty, scale region",
        said[0],
    )
    assert said[1] == "1 case to train on, 1 to validate, 0 to test"
    assert said[2] == f"training on cpu in float32; run folder {tmp_path / 'run'}"
    assert len(said) == 3


def test_the_validation_and_the_best_are_shown(cli: Cli, store: Path, split: Path, tmp_path: Path) -> None:
    run = cli("train", store, "-o", tmp_path / "run", "--steps", "1", "--split", split, *QUICK)
    assert re.search(r"loss [\d.]+, Dice 0\.\d{3}, [\d.]+ patches/s, best 0\.\d{3} at 1$", run.out), run.out


def test_loss_and_patches_per_second_are_means_of_late(tmp_path: Path) -> None:
    """Of 5 steps that have a patch in 1 s and 15 that have one in 3 s, 20 patches came in 50 s."""
    settings = TrainSettings(location="knees.zarr", out=tmp_path, steps=30)
    meter = _Shown()
    view = TrainView(meter, settings)
    for number, (loss, seconds) in enumerate([(9.0, 0.1)] * 10 + [(1.0, 1.0)] * 5 + [(2.0, 3.0)] * 15, 1):
        view.step(_step(number, loss, 1 / seconds))
    assert meter.note == "loss 1.7500, 0.4 patches/s"
    assert view.ended() == "step 30 of 30, loss 1.7500, 0.4 patches/s"


def test_a_validation_shows_its_case_and_how_much_of_it_is_through(tmp_path: Path) -> None:
    meter = _Shown()
    view = TrainView(meter, TrainSettings(location="knees.zarr", out=tmp_path, steps=30))
    view.step(_step(10, 1.0, 1.0))
    notes = []
    for done in (0.0, 1.4, 5.0):
        view.validating(done, 5)
        notes.append(meter.note)
    assert notes == [
        "validating case 1 of 5, 0%",
        "validating case 2 of 5, 40%",
        "validating case 5 of 5, 100%",
    ]
    assert meter.done == 10


def test_patience_ends_it_and_says_so(cli: Cli, store: Path, split: Path, tmp_path: Path) -> None:
    """A rate of nearly 0 improves nothing."""
    still = ("--lr", "1e-30", "--validate-every", "1", "--patience", "2", "--split", split)
    run = cli("train", store, "-o", tmp_path / "run", "--steps", "9", *TINY, *still)
    assert run.out.startswith(f"{tmp_path / 'run'}: step 3 of 9, ")
    assert run.out.endswith("; nothing was better in 2 validations\n")
    again = cli("train", store, "-o", tmp_path / "run", "--steps", "9", *TINY, *still)
    assert again.out == f"{tmp_path / 'run'}: it ended at step 3: nothing was better in 2 validations\n"


def test_without_what_it_stands_on_it_says_what_to_install(
    cli: Cli, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "monai.networks.nets.unet", None)
    run = cli("train", store, "-o", tmp_path / "run", "--net", "monai-unet", "--patch", "16,16,16")
    assert (run.code, run.error) == (
        1,
        "error: MONAI is not installed; networks need it. Install it: pip install 'dmapsvc[train]'.",
    )


def test_without_validation_cases_it_says_so(cli: Cli, store: Path, tmp_path: Path) -> None:
    run = cli("train", store, "-o", tmp_path / "run", "--steps", "1", *QUICK)
    assert run.code == 0
    assert sum("no case to validate on" in line for line in run.err.splitlines()) == 1


def test_images_that_are_missing_are_one_line_with_their_number_and_names(
    cli: Cli, masks: Path, tmp_path: Path
) -> None:
    store = tmp_path / "knees.zarr"
    cli("precompute", masks, store, "--backend", "scipy")
    run = cli("train", store, "-o", tmp_path / "run", *QUICK)
    assert run.code == 2
    assert "3 of 3 cases have no image: " in run.error
    assert "sub__c" in run.error
    assert not (tmp_path / "run" / "last.pt").exists()


def test_a_split_with_a_case_that_is_not_there(cli: Cli, store: Path, split: Path, tmp_path: Path) -> None:
    split.write_text('{"train": ["a", "z"]}')
    run = cli("train", store, "-o", tmp_path / "run", "--split", split, *QUICK)
    assert (run.code, run.error) == (
        2,
        f"error: {split}: not in the dataset: z; wanted names of its 2 cases. `dmapsvc info` lists them.",
    )


def test_a_configuration_says_what_the_flags_do_not(
    cli: Cli, store: Path, split: Path, tmp_path: Path
) -> None:
    config = tmp_path / "train.toml"
    config.write_text(
        f'location = "{store}"\nnet = "monai-unet"\npatch = [16, 16, 16]\nwidth = 2\nbatch = 1\nsteps = 7\n'
        f'threads = 1\nloss = "dice"\nvalidate_every = 1\nsplit = "{split}"\n'
    )
    run = cli("train", "--config", config, "-o", tmp_path / "run", "--steps", "1", "--loss", "penalty")
    assert run.code == 0, run.err
    kept = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert (kept["net"], kept["width"], kept["steps"], kept["loss"]) == ("monai-unet", 2, 1, "penalty")
    assert kept["lr"] == 1e-4, "a flag's default says nothing"


def test_the_settings_of_a_run_train_another_like_it(cli: Cli, store: Path, tmp_path: Path) -> None:
    cli("train", store, "-o", tmp_path / "one", "--steps", "1", *QUICK)
    run = cli("train", "--config", tmp_path / "one" / "settings.json", "-o", tmp_path / "two")
    assert run.code == 0, run.err
    one, two = (json.loads((tmp_path / name / "settings.json").read_text()) for name in ("one", "two"))
    assert one == two | {"out": str(tmp_path / "one")}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "error: no dataset; a training wants a dataset and a folder"),
        (("knees.zarr",), "error: no run folder; "),
        (("knees.zarr", "-o", "run", "--net", "unet"), "'unet'; wanted one of vnet, "),
        (("knees.zarr", "-o", "run", "--patch", "64"), "--patch '64'; wanted three whole numbers"),
        (("knees.zarr", "-o", "run", "--config", "none.toml"), "none.toml: No such file"),
        (("nowhere.zarr", "-o", "run"), "nowhere.zarr"),
    ],
)
def test_what_cannot_be_is_one_line(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    run = cli("train", *arguments)
    assert run.code == 2
    assert says in run.error


def test_a_wrong_key_of_a_configuration_is_one_line(cli: Cli, tmp_path: Path) -> None:
    config = tmp_path / "train.toml"
    config.write_text("step = 3\n")
    run = cli("train", "knees.zarr", "-o", tmp_path / "run", "--config", config)
    assert run.code == 2
    assert run.error == f"error: {config}: there is no setting 'step'. Did you mean 'steps'?"


def test_ctrl_c_tells_which_step_is_kept_and_where(
    cli: Cli, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainView, "step", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    run = cli("train", store, "-o", tmp_path / "run", *QUICK)
    assert run.code == 130
    assert f"saved at step 1 in {tmp_path / 'run'}" in run.err.splitlines()


def test_ctrl_c_in_a_validation_tells_the_step_that_is_kept(
    cli: Cli, store: Path, split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainView, "validating", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    run = cli("train", store, "-o", tmp_path / "run", "--validate-every", "2", "--split", split, *QUICK)
    assert run.code == 130
    assert f"saved at step 2 in {tmp_path / 'run'}" in run.err.splitlines()


def test_ctrl_c_before_it_began_tells_of_no_step(
    cli: Cli, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "run"
    out.mkdir()
    (out / "last.pt").write_bytes(b"no checkpoint that can be read")
    with monkeypatch.context() as patched:
        patched.setattr("dmapsvc.train.run.open_training", interrupted)
        run = cli("train", store, "-o", out, *QUICK)
    assert (run.code, run.err.splitlines()[0]) == (130, "stopped before it began")
    (out / "last.pt").unlink()
    monkeypatch.setattr(Learner, "find_gradient", interrupted)
    run = cli("train", store, "-o", out, *QUICK)
    assert (run.code, "no step to save yet" in run.err.splitlines()) == (130, True)


def test_of_several_processes_one_prints(
    cli: Cli, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "leads", lambda: False)
    run = cli("train", store, "-o", tmp_path / "run", "--steps", "1", *QUICK)
    assert (run.code, run.out, run.err) == (0, "", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--scale", "none"), 1), (("--scale", "region"), 0), (("--scale", "none", "--loss", "focal"), 0)],
)
def test_scale_none_says_what_it_does(
    cli: Cli, store: Path, tmp_path: Path, words: tuple[str, ...], said: int
) -> None:
    run = cli("train", store, "-o", tmp_path / "run", *words, *QUICK, "--steps", "1")
    assert run.code == 0, run.err
    assert sum("nearly all of the weight" in line for line in run.err.splitlines()) == said


@pytest.mark.parametrize("width", [600_000, 999_999_999])  # over any address space, over any integer
def test_a_network_too_large_for_the_machine_is_one_line(
    cli: Cli, store: Path, tmp_path: Path, width: int
) -> None:
    run = cli(
        "train", store, "-o", tmp_path / "run", "--patch", "16,16,16", "--threads", "1", "--width", width
    )
    assert run.code == 2
    assert run.error == (
        "error: this machine's memory is too small for this training. Make patch, batch or width smaller."
    )
    assert not (tmp_path / "run" / "last.pt").exists()


def test_every_setting_is_a_flag_with_the_librarys_default() -> None:
    parameters = inspect.signature(train.command).parameters
    assert set(parameters) - {"context", "config"} == set(FIELDS)
    library = {field.name: field.default for field in dataclasses.fields(TrainSettings)}
    for name in set(FIELDS) - {"location", "out"}:
        default = parameters[name].default
        assert (parse_sides(default) if name == "patch" else default) == library[name], name


def test_flags_are_called_as_the_settings_and_the_help_groups_them(cli: Cli) -> None:
    text = cli("train", "--help").out
    headings = re.findall(r"^(\S.*):$", text, re.MULTILINE)
    assert headings == ["Arguments", "Options", "Network and loss", "Patches", "Course", "Machine"]
    flags = set(re.findall(r"^  (?:-\w, )?--([a-z-]+)", text, re.MULTILINE))
    assert flags == {name.replace("_", "-") for name in FIELDS if name != "location"} | {"config", "help"}
    words = re.sub(r"\s+", "", text)
    assert [name for name in (*LOSSES, *NETWORKS) if name not in words] == []


class _Shown(Meter):
    """A meter that remembers the last that it was shown."""

    def __init__(self) -> None:
        super().__init__("train", None, "steps")
        self.done, self.note = 0.0, ""

    def show(self, done: float, note: str = "", *, total: float | None = None) -> None:
        self.done, self.note = done, note


def _step(number: int, loss: float, patches_per_second: float) -> Step:
    return Step(
        step=number,
        steps=30,
        loss=loss,
        lr=1e-4,
        patches_per_second=patches_per_second,
        validation=None,
        best=None,
    )
