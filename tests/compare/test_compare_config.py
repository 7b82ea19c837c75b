"""The configuration of a comparison: what a file says, what cannot be, and what has to stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dmapsvc.compare.config import Config, identity
from dmapsvc.compare.contenders import CONTENDERS, DEFAULT
from dmapsvc.errors import BadFile, BadInput
from dmapsvc.train.names import LOSSES

FILE = """
contenders = ["penalty-region", "dice"]
seeds = 3
jobs = 2
search_seeds = 2
search_steps = 100

[train]
patch = [32, 48, 64]
steps = 400
split = "split.json"

[search]
lr = [1e-4, 1]
foreground = [0.5]

[predict]
closing = 1
components = 3

[evaluate]
tolerance = 0.5
"""


def _file(folder: Path, text: str) -> Path:
    path = folder / "compare.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_says_it_all(tmp_path: Path) -> None:
    config = Config.from_toml(_file(tmp_path, FILE))
    assert config == Config(
        contenders=("penalty-region", "dice"),
        seeds=3,
        jobs=2,
        search_seeds=2,
        search_steps=100,
        train={"patch": (32, 48, 64), "steps": 400, "split": Path("split.json")},
        search={"lr": (1e-4, 1.0), "foreground": (0.5,)},
        closing=1,
        components=3,
        tolerance=0.5,
    )


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    assert Config.from_toml(_file(tmp_path, "")) == Config()


def test_the_eight_of_the_benchmark_are_the_default_and_every_loss_can_be_compared() -> None:
    assert len(DEFAULT) == 8
    assert {contender.loss for contender in CONTENDERS.values()} == set(LOSSES)
    scales = [(one.loss, one.scale) for one in CONTENDERS.values()]
    assert len(set(scales)) == len(CONTENDERS)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seed = 3", r"compare\.toml: there is no key 'seed'.*Did you mean 'seeds'"),
        ("[train]\nlearning_rate = 1", r"there is no setting 'learning_rate'. Did you mean 'lr'\?"),
        ("[train]\nzzz = 1", "there is no setting 'zzz'; wanted one of net, width, patch, batch, steps, "),
        (
            "[search]\nzzz = [1]",
            "there is no setting 'zzz'; wanted one of net, width, patch, batch, lr",
        ),
        ("[train]\nstep = 1", "Did you mean 'steps'"),
        ("[train]\nloss = 'dice'", r"\[train\]: loss; the comparison itself"),
        (
            "[search]\nsteps = [10, 20]",
            r"\[search\]: steps; .* the same. Set it in \[train\], or search_steps",
        ),
        ("[search]\nselect = ['g_dsc', 'b_dsc']", r"\[search\]: select; .* Set it in \[train\]\."),
        ("[search]\npatience = [1, 2]", r"\[search\]: patience; .* Set it in \[train\]\."),
        ("[search]\nthreads = [1, 2]", r"\[search\]: threads; .* Set it in \[train\]\."),
        ("[search]\nlr = 1e-4", r"\[search\] lr is 0\.0001; wanted a list"),
        ("[search]\nlr = []", r"\[search\] lr is \[\]; wanted a list"),
        ("[search]\nlr = ['fast']", r"\[search\]: lr is 'fast'; wanted a number"),
        ("[predict]\nclose = 1", r"\[predict\]: there is no key 'close'.*Did you mean 'closing'"),
        ("predict = 1", r"wanted a table, \[predict\]"),
        ("contenders = 'dice'", "contenders is 'dice'; wanted a list"),
        ("contenders = ['dyce']", r"contender 'dyce'.*Did you mean 'dice'"),
        ("contenders = ['dice', 'dice']", "contender 'dice' twice"),
        ("seeds = 0", "seeds is 0; wanted at least 1"),
        ("jobs = 1.5", r"jobs is 1\.5; wanted at least 1"),
        ("search_steps = true", "search_steps is True"),
        ("[evaluate]\ntolerance = -1", "tolerance is -1"),
        ("[predict]\noverlap = 1.0", r"overlap is 1\.0; wanted 0 to below 1"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        Config.from_toml(_file(tmp_path, text))


@pytest.mark.parametrize(
    "change",
    [
        {"train": {"learning": 1}},
        {"train": {"seed": 3}},
        {"search": {"loss": ("dice",)}},
        {"search": {"lr": ()}},
    ],
)
def test_a_script_is_told_what_a_file_is(change: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=next(iter(change))):
        Config(**change)


def test_a_scripts_values_are_kept_as_a_files_are() -> None:
    said = Config(train={"patch": [16, 32, 32], "lr": 1}, search={"patch": ([8, 16, 16], (16, 16, 16))})
    assert said.train == {"patch": (16, 32, 32), "lr": 1.0}
    assert isinstance(said.train["lr"], float)
    assert said.search == {"patch": ((8, 16, 16), (16, 16, 16))}


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"compare\.toml: .*wanted a TOML file"):
        Config.from_toml(_file(tmp_path, "seeds ="))
    with pytest.raises(BadFile, match="wanted a TOML file"):
        Config.from_toml(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    "change", [{"contenders": ("dice",)}, {"seeds": 7}, {"jobs": 4}, {"train": {"device": "cpu"}}]
)
def test_which_runs_there_are_and_where_they_run_may_change(change: dict[str, Any]) -> None:
    assert identity(Config(**change).to_json()) == identity(Config().to_json())


@pytest.mark.parametrize(
    "change",
    [
        {"train": {"width": 8}},
        {"search": {"lr": (1e-3,)}},
        {"search_seeds": 2},
        {"search_steps": 7},
        {"components": 3},
        {"tolerance": 2.0},
    ],
)
def test_what_a_run_is_may_not_change(change: dict[str, Any]) -> None:
    assert identity(Config(**change).to_json()) != identity(Config().to_json())


DOC = (Path(__file__).parents[2] / "docs" / "compare.md").read_text(encoding="utf-8")


def test_the_document_names_every_contender_and_every_key(tmp_path: Path) -> None:
    assert all(f"| `{name}` |" in DOC for name in CONTENDERS)
    example = DOC.split("```toml\n")[1].split("```")[0]
    config = Config.from_toml(_file(tmp_path, example))
    assert config.search
    keys = {key for key in config.to_json() if key not in ("train", "search")}
    assert all(f"\n{key} = " in example for key in keys)
