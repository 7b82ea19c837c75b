from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from dmapsvc.errors import BadInput, BadLabels, NotFound
from dmapsvc.loader.batches import batches
from dmapsvc.loader.patches import PatchDataset
from dmapsvc.loader.prepared import IGNORE_INDEX, Patch, PreparedCase
from dmapsvc.loader.source import open_dataset
from dmapsvc.region import SCALES, Scale

MakeDataset = Callable[..., Path]
TwoBones = Callable[..., tuple[Any, Any]]


def _plain(folder: Path, case: str) -> tuple[NDArray[Any], ...]:
    """Image, labels and Φ of a case, read by zarr alone."""
    group = zarr.open_group(folder, mode="r")
    arrays = [group[f"{case}/{name}/0"] for name in ("image", "label", "phi")]
    assert all(isinstance(array, zarr.Array) for array in arrays)
    image, label, phi = (np.asarray(array[...]) for array in arrays)  # type: ignore[index]
    attributes = arrays[2].attrs
    return image, label, phi * float(str(attributes["scale_factor"])) + float(str(attributes["add_offset"]))


def _zscore(image: NDArray[Any]) -> NDArray[np.float64]:
    values = image.astype(np.float64)
    normalised: NDArray[np.float64] = (values - values.mean()) / values.std()
    return normalised


def _place(patch: Patch, image: NDArray[np.float64]) -> tuple[slice, ...]:
    """Where in the image a patch was cut: noise makes every place unlike the others."""
    wanted = patch["image"][0].numpy()
    matches = np.argwhere(np.isclose(image, wanted[0, 0, 0], atol=1e-5))
    for corner in matches:
        place = tuple(slice(int(at), int(at) + side) for at, side in zip(corner, wanted.shape, strict=True))
        if image[place].shape == wanted.shape and np.allclose(image[place], wanted, atol=1e-4):
            return place
    raise AssertionError("the patch is nowhere in the image")


@pytest.mark.parametrize("foreground", [0.0, 1.0])
def test_patches_are_slices_of_the_arrays(knees: Path, foreground: float) -> None:
    volumes = {case: _plain(knees, case) for case in "ab"}
    patches = PatchDataset(knees, patch=(16, 20, 12), scale="none", foreground=foreground, seed=3)
    drawn = list(islice(patches, 12))
    for patch in drawn:
        image, label, phi = volumes[patch["case"]]
        place = _place(patch, _zscore(image))
        assert patch["image"].dtype == patch["phi"].dtype == torch.float32
        assert patch["image"].shape == (1, 16, 20, 12)
        assert patch["label"].dtype == torch.int64
        indices = np.select([label == 7, label == 5], [1, 2], 0)  # spec.labels is (7, 5); 3 is background
        assert np.array_equal(patch["label"].numpy(), indices[place])
        np.testing.assert_allclose(patch["phi"].numpy(), phi[place], rtol=1e-6)
    assert {patch["case"] for patch in drawn} == {"a", "b"}


@pytest.mark.parametrize("scale", SCALES)
def test_phi_is_scaled_by_each_voxels_region(knees: Path, scale: Scale) -> None:
    record = open_dataset(knees).case("a").record
    case = PreparedCase(open_dataset(knees).case("a"), classes=(0, 7, 5), scale=scale)
    patch = case.cut((3, 2, 5), (32, 32, 32))
    _, label, phi = _plain(knees, "a")
    label, phi = label[3:35, 2:34, 5:37], phi[3:35, 2:34, 5:37]
    expected = np.empty_like(phi)
    for region in record.regions:
        factor, offset = region.scaling(scale)
        voxels = ~np.isin(label, (5, 7)) if region.value == 0 else label == region.value
        expected[voxels] = factor * phi[voxels] + offset
    np.testing.assert_allclose(patch["phi"].numpy(), expected, rtol=1e-5, atol=1e-6)
    maxima = {region.value: region.maximum for region in record.regions}
    assert patch["maxima"].tolist() == pytest.approx([maxima[0], maxima[7], maxima[5]])


def test_a_patch_larger_than_the_volume_is_padded_around_it(knees: Path) -> None:
    image, label, _ = _plain(knees, "b")  # 24×50×30
    case = PreparedCase(open_dataset(knees).case("b"), classes=(0, 7, 5), scale="balanced")
    patches = PatchDataset(knees, patch=(32, 16, 48), seed=0, scale="balanced")
    patch = next(patch for patch in patches if patch["case"] == "b")
    inside = np.zeros((32, 16, 48), dtype=bool)
    inside[4:28, :, 9:39] = True
    assert np.array_equal(patch["label"].numpy() != IGNORE_INDEX, inside)
    assert not patch["phi"].numpy()[~inside].any()
    darkest = _zscore(image).min()
    np.testing.assert_allclose(patch["image"].numpy()[0][~inside], darkest, rtol=1e-4)
    whole = case.cut((-4, -7, -9), (32, 64, 48))
    np.testing.assert_allclose(whole["image"].numpy()[0, 4:28, 7:57, 9:39], _zscore(image), atol=1e-4)
    assert (whole["label"].numpy() != IGNORE_INDEX).sum() == label.size


def test_several_channels_are_normalised_one_by_one(make_dataset: MakeDataset, two_bones: TwoBones) -> None:
    labels, image = two_bones((20, 20, 20))
    channels = np.stack([image, image[::-1] * 3 + 7, np.full_like(image, 9)])
    patches = PatchDataset(make_dataset({"a": (labels, channels)}), patch=(20, 20, 20))
    patch = next(iter(patches))
    assert patches.channels == 3
    for channel, expected in zip(patch["image"].numpy(), channels[:2], strict=False):
        np.testing.assert_allclose(channel, _zscore(expected), atol=1e-4)
    assert not patch["image"][2].any()  # a constant channel is 0, not NaN


def test_share_of_patches_with_foreground(make_dataset: MakeDataset) -> None:
    labels = np.zeros((48, 48, 48), dtype=np.uint8)
    labels[30, 2, 47] = 1
    image = np.random.default_rng(0).normal(size=labels.shape).astype(np.float32)
    folder = make_dataset({"a": (labels, image)})

    def share(foreground: float) -> float:
        patches = PatchDataset(folder, patch=(4, 4, 4), foreground=foreground, seed=1)
        return float(np.mean([bool((patch["label"] == 1).any()) for patch in islice(patches, 60)]))

    assert share(1.0) == 1.0
    assert 0.3 < share(0.5) < 0.7  # by chance alone a patch holds the voxel once in a thousand
    assert share(0.0) < 0.1


def test_foreground_patches_are_centred_where_the_border_lets_them(make_dataset: MakeDataset) -> None:
    labels = np.zeros((40, 40, 40), dtype=np.uint8)
    labels[20, 1, 39] = 1
    image = np.random.default_rng(0).normal(size=labels.shape).astype(np.float32)
    patches = PatchDataset(make_dataset({"a": (labels, image)}), patch=(8, 8, 8), foreground=1.0)
    assert torch.nonzero(next(iter(patches))["label"] == 1).tolist() == [[4, 1, 7]]


def _first(patches: PatchDataset, count: int = 4) -> list[torch.Tensor]:
    return [patch["image"] for patch in islice(patches, count)]


def test_the_seed_decides_every_patch(knees: Path) -> None:
    one, again, other = (_first(PatchDataset(knees, patch=(8, 8, 8), seed=seed)) for seed in (5, 5, 6))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_every_worker_draws_a_stream_of_its_own_and_the_same_each_time(knees: Path) -> None:
    patches = PatchDataset(knees, patch=(8, 8, 8), seed=5)
    runs = [
        [batch["image"][0] for batch in islice(DataLoader(patches, batch_size=1, num_workers=2), 6)]
        for _ in range(2)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
    drawn = {image.numpy().tobytes() for image in runs[0]}
    assert len(drawn) == 6  # workers take turns: had they one stream, every second patch were a repetition


def test_batches_stack_patches(knees: Path) -> None:
    patches = PatchDataset(knees, patch=(8, 4, 6), seed=5)
    batch = next(batches(patches, size=3))
    singles = list(islice(patches, 3))
    assert batch["image"].shape == (3, 1, 8, 4, 6)
    assert batch["maxima"].shape == (3, 3)
    assert batch["case"] == [patch["case"] for patch in singles]
    assert torch.equal(batch["phi"], torch.stack([patch["phi"] for patch in singles]))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_arrives_as_it_was_raised(
    make_dataset: MakeDataset, two_bones: TwoBones, workers: int
) -> None:
    patches = PatchDataset(
        make_dataset({"later": two_bones((16, 16, 16))}), patch=(8, 8, 8), classes=(0, 3, 5)
    )
    with pytest.raises(BadLabels) as caught:
        next(batches(patches, size=2, workers=workers))
    assert caught.value.detail.startswith("case 'later' has label 7; the classes are frozen as 0, 3, 5.")


def test_a_case_without_an_image_is_named_with_the_remedy(
    make_dataset: MakeDataset, two_bones: TwoBones
) -> None:
    labels, image = two_bones((16, 16, 16))
    folder = make_dataset({"a": (labels, image), "bare": (labels, None)})
    with pytest.raises(NotFound, match=r"case 'bare' has no image.*--images"):
        PatchDataset(folder, patch=(8, 8, 8))


def test_a_dataset_without_cases_is_told(make_dataset: MakeDataset) -> None:
    with pytest.raises(NotFound, match=r"empty\.zarr: no case is published"):
        PatchDataset(make_dataset({}, name="empty"), patch=(8, 8, 8))


def test_unusable_arguments_are_refused(knees: Path) -> None:
    with pytest.raises(BadInput, match="patch"):
        PatchDataset(knees, patch=(8, 0, 8))
    with pytest.raises(BadInput, match="scale 'mean'; wanted one of none"):
        PatchDataset(knees, patch=(8, 8, 8), scale="mean")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="foreground share"):
        PatchDataset(knees, patch=(8, 8, 8), foreground=2)


def test_images_of_unlike_channels_are_refused(make_dataset: MakeDataset, two_bones: TwoBones) -> None:
    labels, image = two_bones((16, 16, 16))
    folder = make_dataset({"a": (labels, image), "b": (labels, np.stack([image, image]))})
    with pytest.raises(BadInput, match=r"case 'a' has 1 channels; .*case 'b' has 2 channels"):
        PatchDataset(folder, patch=(8, 8, 8))
