"""A configuration file is TOML or JSON, and its keys are settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dmapsvc.errors import BadFile, BadInput
from dmapsvc.train.config import read_config
from dmapsvc.train.settings import TrainSettings


def test_toml_says_some_of_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "train.toml"
    path.write_text('net = "monai-unet"\npatch = [32, 64, 64]\nlr = 5e-3\nsplit = "split.json"\n')
    assert read_config(path) == {
        "net": "monai-unet",
        "patch": (32, 64, 64),
        "lr": 0.005,
        "split": Path("split.json"),
    }


def test_the_settings_of_a_run_can_be_replayed(tmp_path: Path) -> None:
    settings = TrainSettings(location="knees.zarr", out=tmp_path / "run", seed=4, patch=(32, 32, 32))
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(settings.to_json()))
    assert TrainSettings(**read_config(path)) == settings


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "train.toml"
    path.touch()
    assert read_config(path) == {}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("train.toml", b"steps: 100", r"train\.toml: .*line 1"),
        ("train.json", b"steps = 100", r"train\.json: .*line 1"),
        ("train.json", b"[1, 2]", r"train\.json: a list; wanted settings"),
        ("train.toml", b"\xff\xfe", r"train\.toml: .*utf-8"),
        ("train.toml", None, r"train\.toml: No such file"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BadFile, match=says):
        read_config(tmp_path / name)


def test_a_key_that_is_no_setting_is_told_with_its_file_and_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "train.toml"
    path.write_text("validate-every = 10\n")
    with pytest.raises(BadInput, match=r"train\.toml: .* 'validate-every'. Did you mean 'validate_every'\?"):
        read_config(path)
