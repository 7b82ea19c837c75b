from __future__ import annotations

import copy
import pickle
from collections import Counter
from collections.abc import Callable
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from dmapsvc.errors import BadInput, BadLabels, DeviceMissing, NotFound
from dmapsvc.loader.patchloader import PatchLoader
from dmapsvc.loader.turns import Augment
from tests.loader.patches import (
    MakeDataset,
    TwoBones,
    first_batches,
    patches_of,
    same,
)


class TestStream:
    @pytest.mark.parametrize("augment", [None, Augment(rotation=30, zoom=(0.9, 1.1))])
    def test_does_not_depend_on_the_number_of_threads(self, knees: Path, augment: Augment | None) -> None:
        def loader(threads: int, ahead: int) -> PatchLoader:
            return PatchLoader(knees, patch=(8, 8, 8), seed=5, threads=threads, ahead=ahead, augment=augment)

        one, four = first_batches(loader(1, 1), 30), first_batches(loader(4, 3), 30)
        assert all(map(same, one, four))
        other = first_batches(PatchLoader(knees, patch=(8, 8, 8), seed=6, augment=augment), 30)
        assert not any(map(same, one, other))

    def test_draws_every_case_once_a_round(self, make_dataset: MakeDataset, two_bones: TwoBones) -> None:
        folder = make_dataset({case: two_bones((12, 12, 12)) for case in "abcde"})
        loader = PatchLoader(folder, patch=(4, 4, 4), batch=5)
        assert all(sorted(batch["case"]) == list("abcde") for batch in first_batches(loader, 6))

    def test_draws_only_from_the_cases_asked_for(
        self, make_dataset: MakeDataset, two_bones: TwoBones
    ) -> None:
        volumes = {case: two_bones((12, 12, 12)) for case in "abcd"}
        folder = make_dataset(volumes | {"bare": (volumes["a"][0], None)})  # without an image
        loader = PatchLoader(folder, patch=(4, 4, 4), cases=["d", "b"])
        assert loader.cases == ("d", "b")
        assert all(sorted(batch["case"]) == ["b", "d"] for batch in first_batches(loader, 4))
        with pytest.raises(NotFound, match="case 'e'"):
            PatchLoader(folder, patch=(4, 4, 4), cases=["a", "e"])
        with pytest.raises(BadInput, match="an empty list of cases"):
            PatchLoader(folder, patch=(4, 4, 4), cases=[])

    def test_goes_on_exactly_where_its_state_was_saved(self, knees: Path) -> None:
        whole = first_batches(PatchLoader(knees, patch=(8, 8, 8), seed=5), 12)
        loader = PatchLoader(knees, patch=(8, 8, 8), seed=5, threads=3, ahead=4)
        batches = iter(loader)
        assert all(map(same, islice(batches, 5), whole))
        state = loader.state_dict()
        next(batches)  # what is read and handed out after it does not count
        again = PatchLoader(knees, patch=(8, 8, 8), seed=5)
        again.load_state_dict(state)
        assert all(map(same, first_batches(again, 7), whole[5:]))
        assert again.state_dict()["batches"] == 12

    def test_goes_on_with_the_next_iteration(self, knees: Path) -> None:
        whole = first_batches(PatchLoader(knees, patch=(8, 8, 8)), 7)
        loader = PatchLoader(knees, patch=(8, 8, 8), batches_per_epoch=3)
        assert len(loader) == 3
        assert all(map(same, [*loader, *loader, next(iter(loader))], whole))
        endless = PatchLoader(knees, patch=(8, 8, 8))
        assert all(map(same, [*first_batches(endless, 2), *first_batches(endless, 5)], whole))
        with pytest.raises(TypeError, match="batches_per_epoch"):
            len(endless)

    def test_is_shared_out_among_ranks(self, knees: Path) -> None:
        whole = patches_of(first_batches(PatchLoader(knees, patch=(8, 8, 8)), 12))
        ranks = [PatchLoader(knees, patch=(8, 8, 8), rank=rank, world=3) for rank in range(3)]
        shares = [patches_of(first_batches(rank, 4)) for rank in ranks]
        drawn = Counter(patch for share in shares for patch in share)
        assert drawn == Counter(whole)
        assert len(drawn) > 20  # of 24: that no two ranks draw the same is more than chance
        assert [rank.state_dict()["batches"] for rank in ranks] == [12] * 3

    def test_goes_on_in_a_world_of_another_size(self, knees: Path) -> None:
        whole = patches_of(first_batches(PatchLoader(knees, patch=(8, 8, 8)), 14))
        before = [PatchLoader(knees, patch=(8, 8, 8), rank=rank, world=2) for rank in range(2)]
        first = [patches_of(first_batches(rank, 4)) for rank in before]
        after = [PatchLoader(knees, patch=(8, 8, 8), rank=rank, world=3) for rank in range(3)]
        for rank in after:
            rank.load_state_dict(before[0].state_dict())
        rest = [patches_of(first_batches(rank, 2)) for rank in after]
        assert Counter(chain(*first, *rest)) == Counter(whole)


def _resident() -> int:
    return int(psutil.Process().memory_info().rss)


class TestMemory:
    def test_stays_flat_over_ten_thousand_batches(self, knees: Path) -> None:
        loader = PatchLoader(knees, patch=(6, 6, 6), batch=1)
        batches = iter(loader)
        for _ in islice(batches, 1000):
            pass
        before = _resident()
        for _ in islice(batches, 9000):
            pass
        assert _resident() - before < 4 << 20
        batches.close()

    @pytest.mark.parametrize(("threads", "ahead"), [(1, 1), (3, 2)])
    def test_is_that_of_a_few_batches(self, knees: Path, threads: int, ahead: int) -> None:
        loader = PatchLoader(knees, patch=(16, 16, 16), threads=threads, ahead=ahead)
        places = {batch["image"].data_ptr() for batch in islice(loader, 200)}
        assert len(places) <= threads + ahead + 2

    def test_of_batches_that_are_kept_is_never_overwritten(self, knees: Path) -> None:
        loader = PatchLoader(knees, patch=(8, 8, 8), ahead=1)
        kept = first_batches(loader, 30)
        copies = copy.deepcopy(kept)
        for _ in islice(loader, 30):
            pass
        assert all(map(same, kept, copies))
        assert len({batch["image"].data_ptr() for batch in kept}) == 30


class TestEnd:
    def test_closed_it_has_no_threads_and_can_go_on(self, knees: Path, threads: Callable[[], int]) -> None:
        with PatchLoader(knees, patch=(8, 8, 8)) as loader:
            batches = iter(loader)
            assert threads() == 0  # none before the first batch is asked for
            next(batches)
            assert threads() == 2
        assert threads() == 0
        assert list(batches) == []
        assert same(next(iter(loader)), first_batches(PatchLoader(knees, patch=(8, 8, 8)), 2)[1])

    def test_an_exhausted_or_dropped_iterator_leaves_no_threads(
        self, knees: Path, threads: Callable[[], int]
    ) -> None:
        assert len(list(PatchLoader(knees, patch=(8, 8, 8), batches_per_epoch=3))) == 3
        assert threads() == 0
        for _ in PatchLoader(knees, patch=(8, 8, 8)):
            break
        assert threads() == 0

    def test_threads_of_torch_are_left_as_they_are(self, knees: Path) -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(before + 1)
        try:
            first_batches(PatchLoader(knees, patch=(8, 8, 8), augment=Augment()), 2)
            assert torch.get_num_threads() == before + 1
        finally:
            torch.set_num_threads(before)

    def test_it_pickles_while_it_is_iterated(self, knees: Path) -> None:
        loader = PatchLoader(knees, patch=(8, 8, 8))
        batches = iter(loader)
        next(batches)
        again = pickle.loads(pickle.dumps(loader))
        assert same(next(batches), next(iter(again)))


class TestRefusals:
    def test_a_label_outside_frozen_classes(self, make_dataset: MakeDataset, two_bones: TwoBones) -> None:
        folder = make_dataset({"later": two_bones((16, 16, 16))})
        with pytest.raises(BadLabels, match=r"case 'later' has label 7; the classes are frozen as 0, 3, 5\."):
            PatchLoader(folder, patch=(8, 8, 8), classes=(0, 3, 5))

    def test_a_case_without_an_image(self, make_dataset: MakeDataset, two_bones: TwoBones) -> None:
        labels, image = two_bones((16, 16, 16))
        folder = make_dataset({"a": (labels, image), "bare": (labels, None)})
        with pytest.raises(NotFound, match=r"case 'bare' has no image.*--images"):
            PatchLoader(folder, patch=(8, 8, 8))

    def test_a_dataset_without_cases(self, make_dataset: MakeDataset) -> None:
        with pytest.raises(NotFound, match="empty: no case is published"):
            PatchLoader(make_dataset({}, name="empty"), patch=(8, 8, 8))

    def test_images_of_unlike_channels(self, make_dataset: MakeDataset, two_bones: TwoBones) -> None:
        labels, image = two_bones((16, 16, 16))
        folder = make_dataset({"a": (labels, image), "b": (labels, np.stack([image, image]))})
        with pytest.raises(BadInput, match="'a' has 1 channels; the image of case 'b' has 2 channels"):
            PatchLoader(folder, patch=(8, 8, 8))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"patch": (8, 0, 8)}, "a patch of"),
            ({"scale": "mean"}, "scale 'mean'; wanted one of none"),
            ({"foreground": 2}, "foreground share"),
            ({"normalise": (0.0, 0.0)}, "normalise"),
            ({"batch": 0}, "batch 0; wanted at least 1"),
            ({"threads": 0}, "threads 0"),
            ({"ahead": 0}, "ahead 0"),
            ({"batches_per_epoch": 0}, "batches_per_epoch 0"),
            ({"rank": 1}, "wanted both or neither"),
            ({"rank": 2, "world": 2}, "rank 2 of a world of 2"),
            ({"classes": (5, 7)}, "0 first, the background"),
        ],
    )
    def test_unusable_arguments(self, knees: Path, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(BadInput, match=message):
            PatchLoader(knees, **{"patch": (8, 8, 8), **arguments})

    @pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
    def test_cuda_where_there_is_none(self, knees: Path) -> None:
        with pytest.raises(DeviceMissing, match="no CUDA device"):
            PatchLoader(knees, patch=(8, 8, 8), device="cuda")
