from __future__ import annotations

import logging
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from dmapsvc.errors import BadInput, Damaged, NotFound
from dmapsvc.loader.patchloader import PatchLoader
from dmapsvc.spec import MapSpec
from dmapsvc.store import Dataset
from tests.loader.patches import (
    MakeDataset,
    Publish,
    TwoBones,
    arrays_of,
    first_batches,
)


class TestChangingDataset:
    def test_a_replaced_case_is_drawn_as_it_is_now(
        self, make_dataset: MakeDataset, two_bones: TwoBones, publish: Publish
    ) -> None:
        labels, image = two_bones((20, 20, 20))
        folder = make_dataset({"a": (labels, image)}, MapSpec(labels=(7, 5)))
        loader = PatchLoader(folder, patch=(20, 20, 20), batch=1, scale="none", ahead=1, threads=1)
        batches = iter(loader)
        editions = [arrays_of(folder, "a")[1:]]
        before = next(batches)
        publish(Dataset.open(folder), "a", np.roll(labels, 2, axis=2), None, "f" * 64, replace=True)
        editions.append(arrays_of(folder, "a")[1:])
        later = list(islice(batches, 5))
        drawn = [
            next(n for n, (indices, _) in enumerate(editions) if np.array_equal(batch["label"][0], indices))
            for batch in [before, *later]
        ]
        assert drawn == sorted(drawn)
        assert (drawn[0], drawn[-1]) == (0, 1)
        for batch, edition in zip(
            [before, *later], drawn, strict=True
        ):  # never half of one and half of other
            np.testing.assert_allclose(batch["phi"][0].numpy(), editions[edition][1], rtol=1e-6)

    def test_a_new_image_of_other_channels_is_told(self, knees: Path) -> None:
        batches = iter(PatchLoader(knees, patch=(8, 8, 8)))
        next(batches)
        image = np.zeros((2, 40, 36, 44), np.int16)
        Dataset.open(knees).publish_image("a", image, spacing=None, affine=None, sha256="e" * 64)
        with pytest.raises(BadInput, match="case 'a' has 2 channels now; the others have 1"):
            list(islice(batches, 10))

    def test_a_deleted_case_is_told_once_and_others_take_its_draws(
        self,
        make_dataset: MakeDataset,
        two_bones: TwoBones,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("dmapsvc.loader.opened._SWAP", 0.05)
        folder = make_dataset({case: two_bones((12, 12, 12)) for case in "abc"})
        loader = PatchLoader(folder, patch=(4, 4, 4), batch=3)
        batches = iter(loader)
        next(batches)
        Dataset.open(folder).delete("b")
        with caplog.at_level(logging.WARNING):
            later = list(islice(batches, 20))[-10:]
        assert [record.message for record in caplog.records] == [
            "case 'b' of knees was deleted; other cases are drawn instead"
        ]
        assert all(len(batch["case"]) == 3 and set(batch["case"]) == {"a", "c"} for batch in later)
        fresh = PatchLoader(folder, patch=(4, 4, 4), batch=3)
        assert fresh.cases == ("a", "c")
        for case in "ac":
            Dataset.open(folder).delete(case)
        with pytest.raises(NotFound, match="every case was deleted"):
            first_batches(loader, 20)

    def test_damage_is_raised_and_names_the_case(self, knees: Path) -> None:
        loader = PatchLoader(knees, patch=(40, 50, 44), batch=2)
        shard = next((knees / "b" / "phi").rglob("c/0/0/0"))
        content = bytearray(shard.read_bytes())
        content[len(content) // 3] ^= 1
        shard.write_bytes(content)
        with pytest.raises(Damaged, match="case 'b': phi"):
            first_batches(loader, 4)

    def test_an_error_does_not_end_the_loader(self, knees: Path) -> None:
        loader = PatchLoader(knees, patch=(40, 50, 44), batch=2)
        shard = next((knees / "b" / "phi").rglob("c/0/0/0"))
        content = shard.read_bytes()
        shard.write_bytes(content[:-200] + bytes(200))
        with pytest.raises(Damaged, match="case 'b'"):
            first_batches(loader, 4)
        shard.write_bytes(content)
        assert len(first_batches(loader, 4)) == 4
