from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dmapsvc.loader.batch import IGNORE_INDEX
from dmapsvc.loader.patchloader import PatchLoader
from dmapsvc.loader.source import open_dataset
from dmapsvc.loader.turns import Augment
from dmapsvc.region import SCALES, Scale
from dmapsvc.spec import MapSpec
from tests.loader.patches import (
    PATCH,
    MakeDataset,
    TwoBones,
    arrays_of,
    first_batches,
    part_of,
    patches_of,
    zscore,
)


class TestPatches:
    @pytest.mark.parametrize("foreground", [0.0, 1.0])
    def test_are_parts_of_the_arrays(self, knees: Path, foreground: float) -> None:
        volumes = {case: arrays_of(knees, case) for case in "ab"}
        loader = PatchLoader(knees, patch=PATCH, batch=3, scale="none", foreground=foreground, seed=3)
        for batch in first_batches(loader, 4):
            assert (batch["image"].dtype, batch["image"].shape) == (torch.float32, (3, 1, *PATCH))
            assert (batch["label"].dtype, batch["label"].shape) == (torch.int16, (3, *PATCH))
            assert (batch["phi"].dtype, batch["phi"].shape) == (torch.float32, (3, *PATCH))
            for place, (case, corner) in enumerate(patches_of([batch])):
                image, indices, phi = (part_of(array, corner) for array in volumes[case])
                whole = volumes[case][0]
                expected = (image - whole.mean()) / whole.std()
                np.testing.assert_allclose(batch["image"][place].numpy(), expected, rtol=1e-5, atol=1e-5)
                assert np.array_equal(batch["label"][place].numpy(), indices)
                np.testing.assert_allclose(batch["phi"][place].numpy(), phi, rtol=1e-6)

    @pytest.mark.parametrize("scale", SCALES)
    def test_have_phi_scaled_by_each_voxels_region(self, knees: Path, scale: Scale) -> None:
        loader = PatchLoader(knees, patch=(8, 8, 8), scale=scale, foreground=1.0)
        for batch in first_batches(loader, 3):
            for place, (case, corner) in enumerate(patches_of([batch])):
                _, indices, phi = (part_of(array, corner, (8, 8, 8)) for array in arrays_of(knees, case))
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
        image, _, _ = arrays_of(knees, "b")  # 24×50×30
        loader = PatchLoader(knees, patch=sides, batch=1, scale="balanced", augment=augment)
        batch = next(batch for batch in loader if batch["case"] == ["b"])
        inside = np.zeros(sides, dtype=bool)
        inside[4:28, :, 9:39] = True
        assert batch["corner"][0, [0, 2]].tolist() == [-4, -9]
        assert np.array_equal(batch["label"][0].numpy() != IGNORE_INDEX, inside)
        assert not batch["phi"][0].numpy()[~inside].any()
        np.testing.assert_allclose(batch["image"][0, 0].numpy()[~inside], zscore(image).min(), rtol=1e-4)

    def test_hold_the_whole_of_a_small_volume(self, knees: Path) -> None:
        image, _, _ = arrays_of(knees, "b")
        loader = PatchLoader(knees, patch=(32, 64, 48), batch=1)
        batch = next(batch for batch in loader if batch["case"] == ["b"])
        np.testing.assert_allclose(batch["image"][0, :, 4:28, 7:57, 9:39].numpy(), zscore(image), atol=1e-4)
        assert int((batch["label"] != IGNORE_INDEX).sum()) == image.size

    def test_have_channels_normalised_one_by_one(
        self, make_dataset: MakeDataset, two_bones: TwoBones
    ) -> None:
        labels, image = two_bones((20, 20, 20))
        channels = np.stack([image, image[::-1] * 3 + 7, np.full_like(image, 9)])
        loader = PatchLoader(make_dataset({"a": (labels, channels)}), patch=(20, 20, 20), batch=1)
        batch = next(iter(loader))
        assert loader.channels == 3
        np.testing.assert_allclose(batch["image"][0].numpy(), zscore(channels), atol=1e-4)
        assert not batch["image"][0, 2].any()  # a constant channel is 0, not NaN

    def test_are_normalised_as_asked(self, knees: Path) -> None:
        image, _, _ = arrays_of(knees, "b")
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
        assert {corner for _, corner in patches_of([next(iter(loader))])} == {(37, 37, 37)}


class TestAugmented:
    def test_without_a_turn_are_as_without_augmentation(self, knees: Path) -> None:
        plain = PatchLoader(knees, patch=PATCH, scale="balanced")
        turned = PatchLoader(knees, patch=PATCH, scale="balanced", augment=Augment(rotation=0))
        for one, other in zip(first_batches(plain, 4), first_batches(turned, 4), strict=True):
            assert one["case"] == other["case"]
            for name in ("image", "label", "corner", "maxima", "means"):
                assert torch.equal(one[name], other[name])
            torch.testing.assert_close(one["phi"], other["phi"], rtol=1e-4, atol=1e-3)

    def test_flipped_are_the_mirror_images(self, knees: Path) -> None:
        plain = PatchLoader(knees, patch=PATCH)
        flipped = PatchLoader(knees, patch=PATCH, augment=Augment(rotation=0, flip=(1.0, 0.0, 1.0)))
        for one, other in zip(first_batches(plain, 3), first_batches(flipped, 3), strict=True):
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
