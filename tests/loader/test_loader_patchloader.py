from __future__ import annotations

import copy
import logging
import pickle
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
import zarr
from numpy.typing import NDArray

from dmapsvc.errors import BadInput, BadLabels, Damaged, DeviceMissing, NotFound
from dmapsvc.loader.batch import IGNORE_INDEX, Batch
from dmapsvc.loader.patchloader import PatchLoader
from dmapsvc.loader.source import open_dataset
from dmapsvc.loader.turns import Augment
from dmapsvc.region import SCALES, Scale
from dmapsvc.spec import MapSpec
from dmapsvc.store import Dataset

MakeDataset = Callable[..., Path]
TwoBones = Callable[..., tuple[Any, Any]]
Publish = Callable[..., None]

PATCH = (16, 20, 12)


def _plain(folder: Path, case: str) -> tuple[NDArray[Any], ...]:
    """Image (C, z, y, x), class indices and Φ of a case, read by zarr alone."""
    group = zarr.open_group(folder, mode="r")
    arrays = [group[f"{case}/{name}/0"] for name in ("image", "label", "phi")]
    assert all(isinstance(array, zarr.Array) for array in arrays)
    image, label, phi = (np.asarray(array[...]) for array in arrays)  # type: ignore[index]
    indices = np.select([label == 7, label == 5], [1, 2], 0)  # spec.labels is (7, 5); 3 is background
    image = image if image.ndim == 4 else image[np.newaxis]
    attributes = arrays[2].attrs
    return image, indices, phi * float(str(attributes["scale_factor"])) + float(str(attributes["add_offset"]))


def _zscore(image: NDArray[Any]) -> NDArray[np.float64]:
    values = image.astype(np.float64)
    axes = (-3, -2, -1)
    deviations = values.std(axes, keepdims=True)
    normalised: NDArray[np.float64] = (values - values.mean(axes, keepdims=True)) / np.where(
        deviations, deviations, 1
    )
    return normalised


def _part(array: NDArray[Any], corner: Iterable[int], sides: tuple[int, ...] = PATCH) -> NDArray[Any]:
    """The patch of a volume, channels or not."""
    for axis, (at, side) in enumerate(zip(corner, sides, strict=True), start=array.ndim - 3):
        array = array.take(range(at, at + side), axis)
    return array


def _same(one: Batch, other: Batch) -> bool:
    tensors = ("image", "label", "phi", "maxima", "means", "corner")
    return one["case"] == other["case"] and all(torch.equal(one[name], other[name]) for name in tensors)  # type: ignore[literal-required]


def _first(loader: PatchLoader, batches: int) -> list[Batch]:
    return list(islice(loader, batches))


def _patches(batches: Iterable[Batch]) -> list[tuple[str, tuple[int, ...]]]:
    """Which patches they are: case and corner."""
    return [
        (case, tuple(corner))
        for batch in batches
        for case, corner in zip(batch["case"], batch["corner"].tolist(), strict=True)
    ]


class TestPatches:
    @pytest.mark.parametrize("foreground", [0.0, 1.0])
    def test_are_parts_of_the_arrays(self, knees: Path, foreground: float) -> None:
        volumes = {case: _plain(knees, case) for case in "ab"}
        loader = PatchLoader(knees, patch=PATCH, batch=3, scale="none", foreground=foreground, seed=3)
        for batch in _first(loader, 4):
            assert (batch["image"].dtype, batch["image"].shape) == (torch.float32, (3, 1, *PATCH))
            assert (batch["label"].dtype, batch["label"].shape) == (torch.int16, (3, *PATCH))
            assert (batch["phi"].dtype, batch["phi"].shape) == (torch.float32, (3, *PATCH))
            for place, (case, corner) in enumerate(_patches([batch])):
                image, indices, phi = (_part(array, corner) for array in volumes[case])
                whole = volumes[case][0]
                expected = (image - whole.mean()) / whole.std()
                np.testing.assert_allclose(batch["image"][place].numpy(), expected, rtol=1e-5, atol=1e-5)
                assert np.array_equal(batch["label"][place].numpy(), indices)
                np.testing.assert_allclose(batch["phi"][place].numpy(), phi, rtol=1e-6)

    @pytest.mark.parametrize("scale", SCALES)
    def test_have_phi_scaled_by_each_voxels_region(self, knees: Path, scale: Scale) -> None:
        loader = PatchLoader(knees, patch=(8, 8, 8), scale=scale, foreground=1.0)
        for batch in _first(loader, 3):
            for place, (case, corner) in enumerate(_patches([batch])):
                _, indices, phi = (_part(array, corner, (8, 8, 8)) for array in _plain(knees, case))
                regions = {region.value: region for region in open_dataset(knees).case(case).record.regions}
                by_class = [regions[value] for value in (0, 7, 5)]
                factors, offsets = np.array([region.scaling(scale) for region in by_class]).T
                expected = factors[indices] * phi + offsets[indices]
                np.testing.assert_allclose(batch["phi"][place].numpy(), expected, rtol=1e-5, atol=1e-6)
                maxima, means = zip(*((region.maximum, region.mean_phi) for region in by_class), strict=True)
                assert batch["maxima"][place].tolist() == pytest.approx(maxima)
                assert batch["means"][place].tolist() == pytest.approx(means)

    def test_tell_of_a_class_that_the_case_lacks_by_zeros(self, knees: Path) -> None:
        loader = PatchLoader(knees, patch=PATCH, classes=(0, 9, 5, 7))
        batch = next(iter(loader))
        assert batch["maxima"].shape == batch["means"].shape == (2, 4)
        assert not batch["maxima"][:, 1].any()
        assert not batch["means"][:, 1].any()
        assert (batch["maxima"][:, [0, 2, 3]] > 0).all()

    @pytest.mark.parametrize("augment", [None, Augment(rotation=0)])
    def test_larger_than_the_volume_are_padded_around_it(self, knees: Path, augment: Augment | None) -> None:
        sides = (32, 16, 48)
        image, _, _ = _plain(knees, "b")  # 24×50×30
        loader = PatchLoader(knees, patch=sides, batch=1, scale="balanced", augment=augment)
        batch = next(batch for batch in loader if batch["case"] == ["b"])
        inside = np.zeros(sides, dtype=bool)
        inside[4:28, :, 9:39] = True
        assert batch["corner"][0, [0, 2]].tolist() == [-4, -9]
        assert np.array_equal(batch["label"][0].numpy() != IGNORE_INDEX, inside)
        assert not batch["phi"][0].numpy()[~inside].any()
        np.testing.assert_allclose(batch["image"][0, 0].numpy()[~inside], _zscore(image).min(), rtol=1e-4)

    def test_hold_the_whole_of_a_small_volume(self, knees: Path) -> None:
        image, _, _ = _plain(knees, "b")
        loader = PatchLoader(knees, patch=(32, 64, 48), batch=1)
        batch = next(batch for batch in loader if batch["case"] == ["b"])
        np.testing.assert_allclose(batch["image"][0, :, 4:28, 7:57, 9:39].numpy(), _zscore(image), atol=1e-4)
        assert int((batch["label"] != IGNORE_INDEX).sum()) == image.size

    def test_have_channels_normalised_one_by_one(
        self, make_dataset: MakeDataset, two_bones: TwoBones
    ) -> None:
        labels, image = two_bones((20, 20, 20))
        channels = np.stack([image, image[::-1] * 3 + 7, np.full_like(image, 9)])
        loader = PatchLoader(make_dataset({"a": (labels, channels)}), patch=(20, 20, 20), batch=1)
        batch = next(iter(loader))
        assert loader.channels == 3
        np.testing.assert_allclose(batch["image"][0].numpy(), _zscore(channels), atol=1e-4)
        assert not batch["image"][0, 2].any()  # a constant channel is 0, not NaN

    def test_are_normalised_as_asked(self, knees: Path) -> None:
        image, _, _ = _plain(knees, "b")
        sides = (32, 50, 30)
        for normalise, expected in [((100.0, 20.0), (image - 100.0) / 20.0), (None, image)]:
            loader = PatchLoader(knees, patch=sides, batch=1, normalise=normalise)
            batch = next(batch for batch in loader if batch["case"] == ["b"])
            np.testing.assert_allclose(batch["image"][0, :, 4:28].numpy(), expected, rtol=1e-6)
            np.testing.assert_allclose(batch["image"][0, 0, :4].numpy(), expected.min(), rtol=1e-6)

    @pytest.mark.parametrize("augment", [None, Augment()])
    def test_come_on_the_device_asked_for(self, knees: Path, augment: Augment | None) -> None:
        batch = next(iter(PatchLoader(knees, patch=PATCH, augment=augment, device="meta")))
        tensors = [value for value in batch.values() if isinstance(value, torch.Tensor)]
        assert [tensor.device.type for tensor in tensors] == ["meta"] * 6

    def test_share_with_foreground(self, make_dataset: MakeDataset) -> None:
        labels = np.zeros((48, 48, 48), dtype=np.uint8)
        labels[30, 2, 47] = 1
        image = np.random.default_rng(0).normal(size=labels.shape).astype(np.float32)
        folder = make_dataset({"a": (labels, image)})

        def share(foreground: float) -> float:
            loader = PatchLoader(folder, patch=(4, 4, 4), batch=60, foreground=foreground, seed=1)
            return float((next(iter(loader))["label"] == 1).any(dim=(1, 2, 3)).float().mean())

        assert share(1.0) == 1.0
        assert 0.3 < share(0.5) < 0.7  # by chance alone a patch holds the voxel once in a thousand
        assert share(0.0) < 0.1

    def test_are_not_centred_on_a_label_that_is_no_class(
        self, make_dataset: MakeDataset, two_bones: TwoBones
    ) -> None:
        labels = np.zeros((40, 40, 40), np.uint8)
        labels[:20], labels[38, 38, 38] = 3, 5
        folder = make_dataset({"a": (labels, labels)}, MapSpec(labels=(5,)))
        loader = PatchLoader(folder, patch=(2, 2, 2), batch=20, foreground=1.0)
        assert {corner for _, corner in _patches([next(iter(loader))])} == {(37, 37, 37)}


class TestAugmented:
    def test_without_a_turn_are_as_without_augmentation(self, knees: Path) -> None:
        plain = PatchLoader(knees, patch=PATCH, scale="balanced")
        turned = PatchLoader(knees, patch=PATCH, scale="balanced", augment=Augment(rotation=0))
        for one, other in zip(_first(plain, 4), _first(turned, 4), strict=True):
            assert one["case"] == other["case"]
            for name in ("image", "label", "corner", "maxima", "means"):
                assert torch.equal(one[name], other[name])
            torch.testing.assert_close(one["phi"], other["phi"], rtol=1e-4, atol=1e-3)

    def test_flipped_are_the_mirror_images(self, knees: Path) -> None:
        plain = PatchLoader(knees, patch=PATCH)
        flipped = PatchLoader(knees, patch=PATCH, augment=Augment(rotation=0, flip=(1.0, 0.0, 1.0)))
        for one, other in zip(_first(plain, 3), _first(flipped, 3), strict=True):
            assert torch.equal(one["image"].flip(-3, -1), other["image"])
            assert torch.equal(one["label"].flip(-3, -1), other["label"])

    def test_rotated_have_real_voxels_in_their_corners_where_the_volume_has(
        self, make_dataset: MakeDataset, two_bones: TwoBones
    ) -> None:
        folder = make_dataset({"a": two_bones((16, 60, 60))})
        loader = PatchLoader(folder, patch=(8, 16, 16), batch=40, augment=Augment(rotation=180), seed=2)
        batch = next(iter(loader))
        reach = 4  # by how much the diagonal is longer than the side, at either end
        deep = ((batch["corner"][:, 1:] >= reach) & (batch["corner"][:, 1:] <= 60 - 16 - reach)).all(dim=1)
        padded = (batch["label"] == IGNORE_INDEX).any(dim=(1, 2, 3))
        assert 5 < int(deep.sum()) < 40
        assert not padded[deep].any()
        assert padded[~deep].any()

    def test_zoomed_have_zoomed_maxima(self, knees: Path) -> None:
        plain = PatchLoader(knees, patch=PATCH)
        zoomed = PatchLoader(knees, patch=PATCH, augment=Augment(rotation=0, zoom=(2.0, 2.0)))
        one, other = next(iter(plain)), next(iter(zoomed))
        torch.testing.assert_close(other["maxima"], 2 * one["maxima"])
        torch.testing.assert_close(other["means"], 2 * one["means"])


class TestStream:
    @pytest.mark.parametrize("augment", [None, Augment(rotation=30, zoom=(0.9, 1.1))])
    def test_does_not_depend_on_the_number_of_threads(self, knees: Path, augment: Augment | None) -> None:
        def loader(threads: int, ahead: int) -> PatchLoader:
            return PatchLoader(knees, patch=(8, 8, 8), seed=5, threads=threads, ahead=ahead, augment=augment)

        one, four = _first(loader(1, 1), 30), _first(loader(4, 3), 30)
        assert all(map(_same, one, four))
        other = _first(PatchLoader(knees, patch=(8, 8, 8), seed=6, augment=augment), 30)
        assert not any(map(_same, one, other))

    def test_draws_every_case_once_a_round(self, make_dataset: MakeDataset, two_bones: TwoBones) -> None:
        folder = make_dataset({case: two_bones((12, 12, 12)) for case in "abcde"})
        loader = PatchLoader(folder, patch=(4, 4, 4), batch=5)
        assert all(sorted(batch["case"]) == list("abcde") for batch in _first(loader, 6))

    def test_draws_only_from_the_cases_asked_for(
        self, make_dataset: MakeDataset, two_bones: TwoBones
    ) -> None:
        volumes = {case: two_bones((12, 12, 12)) for case in "abcd"}
        folder = make_dataset(volumes | {"bare": (volumes["a"][0], None)})  # without an image
        loader = PatchLoader(folder, patch=(4, 4, 4), cases=["d", "b"])
        assert loader.cases == ("d", "b")
        assert all(sorted(batch["case"]) == ["b", "d"] for batch in _first(loader, 4))
        with pytest.raises(NotFound, match="case 'e'"):
            PatchLoader(folder, patch=(4, 4, 4), cases=["a", "e"])
        with pytest.raises(BadInput, match="an empty list of cases"):
            PatchLoader(folder, patch=(4, 4, 4), cases=[])

    def test_goes_on_exactly_where_its_state_was_saved(self, knees: Path) -> None:
        whole = _first(PatchLoader(knees, patch=(8, 8, 8), seed=5), 12)
        loader = PatchLoader(knees, patch=(8, 8, 8), seed=5, threads=3, ahead=4)
        batches = iter(loader)
        assert all(map(_same, islice(batches, 5), whole))
        state = loader.state_dict()
        next(batches)  # what is read and handed out after it does not count
        again = PatchLoader(knees, patch=(8, 8, 8), seed=5)
        again.load_state_dict(state)
        assert all(map(_same, _first(again, 7), whole[5:]))
        assert again.state_dict()["batches"] == 12

    def test_goes_on_with_the_next_iteration(self, knees: Path) -> None:
        whole = _first(PatchLoader(knees, patch=(8, 8, 8)), 7)
        loader = PatchLoader(knees, patch=(8, 8, 8), batches_per_epoch=3)
        assert len(loader) == 3
        assert all(map(_same, [*loader, *loader, next(iter(loader))], whole))
        endless = PatchLoader(knees, patch=(8, 8, 8))
        assert all(map(_same, [*_first(endless, 2), *_first(endless, 5)], whole))
        with pytest.raises(TypeError, match="batches_per_epoch"):
            len(endless)

    def test_is_shared_out_among_ranks(self, knees: Path) -> None:
        whole = _patches(_first(PatchLoader(knees, patch=(8, 8, 8)), 12))
        ranks = [PatchLoader(knees, patch=(8, 8, 8), rank=rank, world=3) for rank in range(3)]
        shares = [_patches(_first(rank, 4)) for rank in ranks]
        drawn = Counter(patch for share in shares for patch in share)
        assert drawn == Counter(whole)
        assert len(drawn) > 20  # of 24: that no two ranks draw the same is more than chance
        assert [rank.state_dict()["batches"] for rank in ranks] == [12] * 3

    def test_goes_on_in_a_world_of_another_size(self, knees: Path) -> None:
        whole = _patches(_first(PatchLoader(knees, patch=(8, 8, 8)), 14))
        before = [PatchLoader(knees, patch=(8, 8, 8), rank=rank, world=2) for rank in range(2)]
        first = [_patches(_first(rank, 4)) for rank in before]
        after = [PatchLoader(knees, patch=(8, 8, 8), rank=rank, world=3) for rank in range(3)]
        for rank in after:
            rank.load_state_dict(before[0].state_dict())
        rest = [_patches(_first(rank, 2)) for rank in after]
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
        kept = _first(loader, 30)
        copies = copy.deepcopy(kept)
        for _ in islice(loader, 30):
            pass
        assert all(map(_same, kept, copies))
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
        assert _same(next(iter(loader)), _first(PatchLoader(knees, patch=(8, 8, 8)), 2)[1])

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
            _first(PatchLoader(knees, patch=(8, 8, 8), augment=Augment()), 2)
            assert torch.get_num_threads() == before + 1
        finally:
            torch.set_num_threads(before)

    def test_it_pickles_while_it_is_iterated(self, knees: Path) -> None:
        loader = PatchLoader(knees, patch=(8, 8, 8))
        batches = iter(loader)
        next(batches)
        again = pickle.loads(pickle.dumps(loader))
        assert _same(next(batches), next(iter(again)))


class TestChangingDataset:
    def test_a_replaced_case_is_drawn_as_it_is_now(
        self, make_dataset: MakeDataset, two_bones: TwoBones, publish: Publish
    ) -> None:
        labels, image = two_bones((20, 20, 20))
        folder = make_dataset({"a": (labels, image)}, MapSpec(labels=(7, 5)))
        loader = PatchLoader(folder, patch=(20, 20, 20), batch=1, scale="none", ahead=1, threads=1)
        batches = iter(loader)
        editions = [_plain(folder, "a")[1:]]
        before = next(batches)
        publish(Dataset.open(folder), "a", np.roll(labels, 2, axis=2), None, "f" * 64, replace=True)
        editions.append(_plain(folder, "a")[1:])
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
            _first(loader, 20)

    def test_damage_is_raised_and_names_the_case(self, knees: Path) -> None:
        loader = PatchLoader(knees, patch=(40, 50, 44), batch=2)
        shard = next((knees / "b" / "phi").rglob("c/0/0/0"))
        content = bytearray(shard.read_bytes())
        content[len(content) // 3] ^= 1
        shard.write_bytes(content)
        with pytest.raises(Damaged, match="case 'b': phi"):
            _first(loader, 4)

    def test_an_error_does_not_end_the_loader(self, knees: Path) -> None:
        loader = PatchLoader(knees, patch=(40, 50, 44), batch=2)
        shard = next((knees / "b" / "phi").rglob("c/0/0/0"))
        content = shard.read_bytes()
        shard.write_bytes(content[:-200] + bytes(200))
        with pytest.raises(Damaged, match="case 'b'"):
            _first(loader, 4)
        shard.write_bytes(content)
        assert len(_first(loader, 4)) == 4


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
