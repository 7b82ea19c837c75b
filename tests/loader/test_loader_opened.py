from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from dmapsvc.errors import BadLabels, BadName, Damaged, NotFound
from dmapsvc.loader import augment, making, opened
from dmapsvc.loader.opened import OpenedCases
from dmapsvc.loader.patchloader import PatchLoader
from dmapsvc.loader.source import CaseSource, LocalSource, open_source
from dmapsvc.loader.turns import Augment
from dmapsvc.store import Dataset

MakeDataset = Callable[..., Path]
TwoBones = Callable[..., tuple[Any, Any]]
Publish = Callable[..., None]


@pytest.fixture
def many(make_dataset: MakeDataset, two_bones: TwoBones) -> Path:
    """Eight small cases, a to h."""
    return make_dataset({case: two_bones((12, 12, 12)) for case in "abcdefgh"})


def _opened(source: CaseSource, classes: tuple[int, ...] = (0, 3, 5, 7)) -> OpenedCases:
    return OpenedCases(source, classes, scale="region", normalise="case", verify=True)


def test_a_case_is_opened_once_and_kept(many: Path) -> None:
    cases = _opened(open_source(many))
    assert cases.get("a") is cases.get("a") is not cases.get("b")


def test_only_the_cases_drawn_last_are_open(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opened, "_MOST", 3)
    cases = _opened(open_source(many))
    first = {name: cases.get(name) for name in "abc"}
    files = psutil.Process().num_fds()
    assert cases.get("a") is first["a"]
    del first["b"], first["c"]
    for name in "defghdef":
        cases.get(name)
    assert psutil.Process().num_fds() <= files + 3  # the first, which is still held here
    assert cases.get("a") is not first["a"]


def test_a_case_replaced_is_opened_anew_and_the_one_before_stays_whole(
    many: Path, two_bones: TwoBones, publish: Publish
) -> None:
    cases = _opened(open_source(many))
    before = cases.get("a")
    assert before is not None
    out, again = np.empty((2, 1, 12, 12, 12), np.float32)
    before.voxels.read_image((0, 0, 0), out, before.image.factor, before.image.offset)
    labels, image = two_bones((12, 12, 12), 9)
    publish(Dataset.open(many), "a", labels, image, "f" * 64, replace=True)
    after = cases.get("a")
    assert after is not None
    assert after is not before
    before.voxels.read_image((0, 0, 0), again, before.image.factor, before.image.offset)
    assert np.array_equal(out, again)
    after.voxels.read_image((0, 0, 0), again, after.image.factor, after.image.offset)
    np.testing.assert_allclose(again[0], (image - image.mean()) / image.std(), atol=1e-5)


def test_a_replacement_that_does_not_suit_is_told(many: Path, publish: Publish) -> None:
    cases = _opened(open_source(many))
    cases.get("a")
    labels = np.zeros((12, 12, 12), np.uint8)
    labels[2:4] = 9
    publish(Dataset.open(many), "a", labels, labels, "f" * 64, replace=True)
    with pytest.raises(BadLabels, match="case 'a' has label 9"):
        cases.get("a")


def test_a_case_that_is_away_for_a_moment_is_waited_for(many: Path, tmp_path: Path) -> None:
    (many / "a").rename(tmp_path / "a")
    threading.Timer(0.1, (tmp_path / "a").rename, [many / "a"]).start()
    assert _opened(open_source(many)).get("a") is not None


def test_a_deleted_case_is_looked_for_in_its_turn_alone(
    many: Path, two_bones: TwoBones, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened, "_SWAP", 0.01)
    cases = _opened(open_source(many))
    assert cases.get("a") is not None
    Dataset.open(many).delete("a")
    assert cases.get("a") is None
    assert cases.get("a") is None
    labels, image = two_bones((12, 12, 12), 9)
    publish(Dataset.open(many), "a", labels, None, "f" * 64)
    assert cases.get("a") is None  # its image is still to come
    Dataset.open(many).publish_image("a", image, spacing=None, affine=None, sha256="e" * 64)
    assert cases.get("a", in_turn=False) is None
    assert cases.get("a") is not None


def test_a_dataset_that_is_away_is_waited_for(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened, "_SWAP", 0.01)
    cases = _opened(open_source(many))
    assert cases.get("a") is not None
    many.rename(tmp_path / "away")
    threading.Timer(0.3, (tmp_path / "away").rename, [many]).start()
    assert cases.get("a") is not None
    assert cases.get("b") is not None


def test_a_dataset_that_stays_away_is_named(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dmapsvc.loader.source._AWAY", 0.1)
    cases = _opened(open_source(many))
    many.rename(many.with_name("away"))
    with pytest.raises(NotFound, match=r"knees\.zarr: the dataset is away"):
        cases.get("a")


def test_a_file_system_that_fails_is_told_with_the_case(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(case: str) -> Path:
        raise OSError(errno.ESTALE, "Stale file handle")

    source = LocalSource(many)
    monkeypatch.setattr(source, "folder", stale)
    with pytest.raises(Damaged, match="case 'a': Stale file handle"):
        _opened(source).get("a")


class Told(LocalSource):
    """A source that notes what it is told and asked for."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.told: list[list[str]] = []
        self.asked: list[str] = []

    def prefetch(self, cases: Sequence[str]) -> None:
        self.told.append(list(cases))

    def folder(self, case: str) -> Path:
        self.asked.append(case)
        return super().folder(case)


def test_the_source_knows_of_cases_before_they_are_drawn(many: Path) -> None:
    source = Told(many)
    loader = PatchLoader(source, patch=(4, 4, 4), threads=1, seed=3)
    drawn = [case for batch in islice(loader, 4) for case in batch["case"]]
    assert source.told[0] == drawn[:2]  # what the first batch needs comes alone
    assert source.told[1][:6] == drawn[2:]
    assert list(dict.fromkeys(source.asked[: 2 * len(drawn)])) == drawn


@pytest.mark.parametrize("threads", [1, 3])
def test_later_cases_are_told_once_the_first_batch_is_read(many: Path, threads: int) -> None:
    class Noted(Told):
        def prefetch(self, cases: Sequence[str]) -> None:
            before.append(list(dict.fromkeys(self.asked)))
            super().prefetch(cases)

    before: list[list[str]] = []
    loader = PatchLoader(Noted(many), patch=(4, 4, 4), threads=threads, seed=3)
    with loader:
        first = next(iter(loader))["case"]
    assert before[:2] == [[], first]


def test_a_rank_tells_of_its_own_draws_alone(make_dataset: MakeDataset, two_bones: TwoBones) -> None:
    folder = make_dataset({f"case{n:02}": two_bones((8, 8, 8)) for n in range(40)})
    told = []
    for rank in range(2):
        source = Told(folder)
        loader = PatchLoader(source, patch=(4, 4, 4), batch=1, threads=1, rank=rank, world=2)
        drawn = [case for batch in islice(loader, 20) for case in batch["case"]]
        assert source.told[0] + source.told[1][:19] == drawn
        told.append(drawn)
    assert not set(told[0]) & set(told[1])


def test_torch_uses_one_thread_in_each_of_ours(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used = set()
    turn = augment.turn_patch

    def noted(*arguments: Any, **options: Any) -> None:
        used.add(torch.get_num_threads())
        turn(*arguments, **options)

    monkeypatch.setattr(making, "turn_patch", noted)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        list(islice(PatchLoader(many, patch=(4, 4, 4), augment=Augment(), threads=3), 8))
    finally:
        torch.set_num_threads(before)
    assert used == {1}


class TestLocalSource:
    def test_lists_cases_and_their_folders(self, many: Path) -> None:
        source = open_source(str(many))
        assert source.name == "knees"
        assert source.cases() == list("abcdefgh")
        assert source.folder("c") == many / "c"
        assert source.record("c") == Dataset.open(many).record("c")

    def test_tells_what_is_not_there(self, many: Path, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="case 'z'; there is none of that name in knees"):
            open_source(many).record("z")
        with pytest.raises(NotFound, match="case 'z'; there is none of that name in knees"):
            open_source(many).folder("z")
        with pytest.raises(BadName, match="case name"):
            open_source(many).folder("../knees.zarr/a")
        with pytest.raises(NotFound, match="no dataset is there"):
            open_source(tmp_path / "none.zarr")
