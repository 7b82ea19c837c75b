"""docs/training.md names every setting with its default, and what it shows works as it is printed."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from dmapsvc.train.config import read_config
from dmapsvc.train.settings import TrainSettings
from tests.loader.docs_run import DOCS, blocks, make_knees, run_block_here

TEXT = (DOCS / "training.md").read_text()


def test_the_table_has_every_setting_and_its_default() -> None:
    table = re.findall(r"^\| `([a-z_]+)` \| (?:`(.*?)`)? +\|", TEXT, re.MULTILINE)
    defaults = {field.name: field.default for field in dataclasses.fields(TrainSettings)}
    wanted = {name: _written(value) for name, value in defaults.items() if name not in ("location", "out")}
    assert dict(table) == wanted


def test_the_configuration_file_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "train.toml").write_text(re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)[0])
    settings = TrainSettings(
        location="knees.zarr", out=tmp_path / "run", **read_config(tmp_path / "train.toml")
    )
    assert (settings.net, settings.patience) == ("monai-unet", 5)


def test_the_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_knees(tmp_path)
    monkeypatch.chdir(tmp_path)
    (block,) = blocks("training.md")
    assert len(run_block_here(block)) == 4
    assert (tmp_path / "run" / "last.pt").exists()


def _written(default: object) -> str:
    if default is None:
        return ""
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
