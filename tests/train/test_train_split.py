"""A split has each case on one side, is the same for a seed, and stays what it was when a training began."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmapsvc.errors import BadFile, BadInput, Conflict
from dmapsvc.train.settings import TrainSettings
from dmapsvc.train.split import Split, chosen_split, make_split

FORTY = [f"case{number:02d}" for number in range(40)]


def test_forty_cases_are_split_as_in_the_paper() -> None:
    split = make_split(FORTY, 0)
    assert (len(split.train), len(split.valid), len(split.test)) == (25, 5, 10)


@given(count=st.integers(1, 200), seed=st.integers(0, 2**32))
def test_each_case_is_on_one_side_and_no_side_is_left_out(count: int, seed: int) -> None:
    cases = [f"c{number}" for number in range(count)]
    split = make_split(cases, seed)
    assert sorted(split.train + split.valid + split.test) == sorted(cases)
    assert bool(split.valid) == bool(split.test) == (count >= 3)
    assert len(split.train) >= max(1, round(count * 25 / 40) - 1)


def test_the_seed_decides_and_the_order_of_the_cases_does_not() -> None:
    assert make_split(FORTY, 1) == make_split(FORTY[::-1], 1)
    assert make_split(FORTY, 1) != make_split(FORTY, 2)


def test_the_split_of_a_seed_is_for_ever() -> None:
    """Written down here: a later version that split otherwise would test on what was trained on."""
    split = make_split([f"c{number}" for number in range(8)], 0)
    assert split == Split(train=("c2", "c3", "c4", "c5", "c7"), valid=("c1",), test=("c0", "c6"))


def test_a_file_keeps_it(tmp_path: Path) -> None:
    split = Split(train=("b", "a"), valid=(), test=("c",))
    split.write(tmp_path / "split.json")
    assert json.loads((tmp_path / "split.json").read_text()) == {
        "train": ["b", "a"],
        "valid": [],
        "test": ["c"],
    }
    assert Split.read(tmp_path / "split.json") == split
    assert [file.name for file in tmp_path.iterdir()] == ["split.json"]


def test_a_side_may_be_left_out_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "split.json").write_text('{"train": ["a"]}')
    assert Split.read(tmp_path / "split.json") == Split(train=("a",))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "no JSON"),
        ("[]", "not a split"),
        ('{"train": ["a"], "validation": ["b"]}', "not a split; wanted"),
        ('{"train": "a"}', "train is no list of names"),
        ('{"train": [1]}', "train is no list of names"),
        (None, "No such file"),
    ],
)
def test_a_file_that_is_no_split_is_told(tmp_path: Path, content: str | None, says: str) -> None:
    if content is not None:
        (tmp_path / "split.json").write_text(content)
    with pytest.raises(BadFile, match=rf"split\.json: {says}"):
        Split.read(tmp_path / "split.json")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"train": ["a", "b"], "test": ["b", "c"]}, r"split\.json: on two sides .*b \(train and test\)"),
        ({"train": ["a", "a"]}, r"a \(train and train\)"),
        ({"train": [], "test": ["b"]}, r"split\.json: a split without training cases"),
    ],
)
def test_a_split_that_cannot_be_names_the_cases_and_the_file(
    tmp_path: Path, content: dict[str, Any], says: str
) -> None:
    (tmp_path / "split.json").write_text(json.dumps(content))
    with pytest.raises(BadInput, match=says):
        Split.read(tmp_path / "split.json")


def test_cases_that_the_dataset_has_not_are_named_the_first_few(tmp_path: Path) -> None:
    Split(train=tuple(FORTY)).write(tmp_path / "split.json")
    settings = _settings(split=tmp_path / "split.json")
    with pytest.raises(
        BadInput, match=r"split\.json: not in the dataset: case33.* and 2 more; .* its 33 cases"
    ):
        chosen_split(settings, FORTY[:33], tmp_path / "kept.json")


def test_cases_may_be_on_no_side(tmp_path: Path) -> None:
    Split(train=("case01",), test=("case02",)).write(tmp_path / "split.json")
    split = chosen_split(_settings(split=tmp_path / "split.json"), FORTY, tmp_path / "kept.json")
    assert split == Split(train=("case01",), test=("case02",))


def test_the_seed_makes_it_where_no_file_is_given(tmp_path: Path) -> None:
    assert chosen_split(_settings(split_seed=5), FORTY, tmp_path / "kept.json") == make_split(FORTY, 5)


def test_what_a_training_began_with_counts(tmp_path: Path) -> None:
    """Cases that were published since are on no side."""
    began = make_split(FORTY[:20], 0)
    began.write(tmp_path / "kept.json")
    assert chosen_split(_settings(), FORTY, tmp_path / "kept.json") == began


def test_a_file_with_another_split_than_it_began_with_is_a_conflict(tmp_path: Path) -> None:
    Split(train=("case01", "case02")).write(tmp_path / "kept.json")
    Split(train=("case02", "case01")).write(tmp_path / "same.json")
    Split(train=("case01",), valid=("case02",)).write(tmp_path / "other.json")
    settings = _settings(split=tmp_path / "same.json")
    assert chosen_split(settings, FORTY, tmp_path / "kept.json").train == ("case01", "case02")
    with pytest.raises(Conflict, match=r"other\.json: another split than .*kept\.json"):
        chosen_split(_settings(split=tmp_path / "other.json"), FORTY, tmp_path / "kept.json")


def _settings(**changes: Any) -> TrainSettings:
    where: dict[str, Any] = {"location": "knees.zarr", "out": Path("run")}
    return TrainSettings(**(where | changes))
