"""A record of settings is checked, comes back from plain values, and says what has to stay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dmapsvc.errors import BadInput
from dmapsvc.train.settings import FIELDS, TrainSettings, checked_fields

OTHER: dict[str, Any] = {
    "location": "http://127.0.0.1:8000/v1/datasets/knees",
    "out": Path("runs/other"),
    "net": "monai-unet",
    "width": 8,
    "loss": "focal",
    "scale": "balanced",
    "patch": (32, 48, 64),
    "batch": 3,
    "steps": 70,
    "validate_every": 7,
    "patience": 4,
    "select": "b_dsc",
    "lr": 5e-3,
    "schedule": "cosine",
    "foreground": 0.25,
    "rotation": 0.0,
    "precision": "bfloat16",
    "seed": 9,
    "split": Path("split.json"),
    "split_seed": 3,
    "threads": 1,
    "device": "cpu",
    "save_every": 11,
}


def _settings(**changes: Any) -> TrainSettings:
    where: dict[str, Any] = {"location": "knees.zarr", "out": Path("run")}
    return TrainSettings(**(where | changes))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"patch": (16, 24, 16)}, "multiples of 16"),
        ({"patch": (0, 16, 16)}, "multiples of 16"),
        ({"net": "monai-unet", "patch": (16, 20, 16)}, "monai-unet wants three sides, multiples of 8"),
        ({"net": "resnet"}, "'resnet'; wanted one of vnet, "),
        ({"loss": "hinge"}, "'hinge'; wanted one of penalty, "),
        (
            {"net": "monai-vnet", "patch": (16, 16, 16), "batch": 1},
            "monai-vnet wants a side above 16, or a batch",
        ),
        ({"batch": 0}, "batch is 0; wanted at least 1"),
        ({"steps": 0}, "steps is 0"),
        ({"validate_every": 0}, "validate_every is 0"),
        ({"save_every": 0}, "save_every is 0"),
        ({"threads": 0}, "threads is 0; wanted at least 1"),
        ({"patience": -1}, "patience is -1; wanted at least 0"),
        ({"split_seed": -1}, "split_seed is -1"),
        ({"seed": 2**63}, "wanted 0 to 2"),
        ({"rotation": 181.0}, "rotation is 181.0; wanted 0 to 180 degrees"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"lr": 0.0}, "lr is 0.0"),
        ({"foreground": 1.5}, "foreground is 1.5"),
        ({"scale": "mean"}, "wanted one of none, region, balanced"),
        ({"select": "hd95"}, "wanted one of g_dsc, b_dsc"),
        ({"schedule": "step"}, "wanted one of constant, cosine"),
        ({"precision": "float64"}, "wanted one of auto, float32, bfloat16, float16"),
        ({"device": "tpu"}, "wanted one of auto, cpu, cuda"),
    ],
)
def test_settings_that_cannot_be_are_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        _settings(**change)


def test_a_network_that_halves_less_takes_sides_that_the_v_net_does_not() -> None:
    assert _settings(net="monai-unet", patch=(24, 40, 72)).patch == (24, 40, 72)


def test_every_setting_comes_back_from_its_plain_value() -> None:
    assert tuple(OTHER) == FIELDS
    for settings in (TrainSettings(**OTHER), _settings()):
        text = json.dumps(settings.to_json())
        assert TrainSettings.from_json(json.loads(text)) == settings


def test_paths_may_be_words() -> None:
    words, paths = (
        _settings(out=kind("run"), split=kind("split.json"), patch=(32, 32, 32)) for kind in (str, Path)
    )
    assert words == paths
    assert (words.out, words.split) == (Path("run"), Path("split.json"))
    assert words.to_json() == paths.to_json()
    assert words.identity == paths.identity


def test_what_may_change_when_a_training_goes_on_is_where_and_how_long() -> None:
    free = {"location", "out", "steps", "patience", "split", "threads", "device", "save_every"}
    mine = _settings()
    for name, value in OTHER.items():
        if name != "schedule":
            assert (_settings(**{name: value}).identity == mine.identity) == (name in free), name


def test_the_steps_of_a_cosine_decide_its_rates_and_have_to_stay() -> None:
    assert _settings(schedule="cosine", steps=10).identity != _settings(schedule="cosine", steps=20).identity


def test_the_identity_is_plain() -> None:
    identity = TrainSettings(**OTHER).identity
    assert json.loads(json.dumps(identity)) == identity


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"step": 3}, r"here: there is no setting 'step'. Did you mean 'steps'\?"),
        ({"learning_rate": 1}, r"no setting 'learning_rate'. Did you mean 'lr'\?"),
        ({"zzz": 1}, r"no setting 'zzz'; wanted one of location, out, net,"),
        ({"steps": "100"}, r"here: steps is '100'; wanted a whole number"),
        ({"steps": 2.5}, r"steps is 2.5; wanted a whole number"),
        ({"batch": True}, r"batch is True; wanted a whole number"),
        ({"lr": "fast"}, r"lr is 'fast'; wanted a number"),
        ({"lr": True}, r"lr is True; wanted a number"),
        ({"net": 3}, r"net is 3; wanted a word"),
        ({"patch": 64}, r"patch is 64; wanted three whole numbers of voxels, \[z, y, x\]"),
        ({"patch": [64, 64]}, r"patch is \[64, 64\]"),
        ({"patch": [64, 64, 6.4]}, r"wanted three whole numbers"),
        ({"split": 3}, r"split is 3; wanted a path"),
        ({"out": None}, r"out is None; wanted a path"),
    ],
)
def test_what_is_no_setting_or_of_another_kind_is_named(content: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        checked_fields(content, "here")


def test_a_whole_number_will_do_for_a_number() -> None:
    values = checked_fields({"rotation": 20, "patch": [32, 32, 16]}, "here")
    assert values == {"rotation": 20.0, "patch": (32, 32, 16)}
    assert isinstance(values["rotation"], float)


@pytest.mark.parametrize(
    ("content", "says"), [({"out": "run"}, "no location"), ({"location": "a"}, "no out")]
)
def test_a_dataset_and_a_run_folder_are_needed(content: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=f"here: {says}"):
        TrainSettings.from_json(content, "here")
