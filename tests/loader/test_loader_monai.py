"""Through MONAI's own transforms, Φ is what would be measured on the transformed label map."""

from __future__ import annotations

import importlib
import pickle
import sys
from pathlib import Path
from typing import Any

import monai.transforms as mt
import numpy as np
import pytest
import torch
from monai.data import CacheDataset, DataLoader, MetaTensor, PersistentDataset, set_track_meta
from numpy.typing import NDArray

from dmapsvc.errors import BadInput, BadLabels, DmapsvcError, NotFound
from dmapsvc.loader.adaptors.monai import LoadPhid, MakePhid
from dmapsvc.loader.batch import IGNORE_INDEX
from dmapsvc.region import SCALES, Scale
from dmapsvc.spec import Units
from dmapsvc.store.mapped import MappedCase
from tests.loader.docs_run import blocks, run_block_here
from tests.loader.ovoids import AFFINE, SPACING, distances, ovoids, publish_ovoids, rim_and_interior

KEYS, MODES = ["image", "label", "distance"], ["bilinear", "nearest", "bilinear"]
ZOOM_MODES = ["trilinear", "nearest-exact", "trilinear"]


@pytest.fixture(scope="module")
def in_voxels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_ovoids(tmp_path_factory.mktemp("voxels"), "voxel")


@pytest.fixture(scope="module")
def in_mm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_ovoids(tmp_path_factory.mktemp("mm"), "mm")


def run(dataset: Path, *between: Any, scale: Scale = "none", seed: int = 0) -> dict[str, Any]:
    pipeline = mt.Compose([LoadPhid(dataset), *between, MakePhid(scale)])
    pipeline.set_random_state(seed)
    made = pipeline({"case": "a"})
    item: dict[str, Any] = made[0] if isinstance(made, list) else made
    return item


def error(dataset: Path, *between: Any) -> BadInput:
    """What MakePhid raises, which MONAI wraps."""
    with pytest.raises(RuntimeError) as caught:
        run(dataset, *between)
    assert isinstance(caught.value.__cause__, BadInput)
    return caught.value.__cause__


def arrays(item: dict[str, Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Label and Φ, (x, y, z)."""
    return item["label"][0].as_tensor().numpy(), item["phi"][0].as_tensor().numpy()


def test_a_case_is_read_as_its_file_would_be(in_voxels: Path) -> None:
    labels, image = ovoids()
    item = LoadPhid(in_voxels)({"case": "a", "age": 40})
    assert item["age"] == 40
    assert np.array_equal(item["image"][0].numpy(), image.T)
    assert np.array_equal(item["label"][0].numpy(), np.searchsorted([0, 5, 7], labels.T))
    assert (item["image"].dtype, item["label"].dtype) == (torch.float32, torch.int16)
    for key in KEYS:
        assert np.allclose(item[key].affine.numpy(), AFFINE)
    inside = item["distance"][0].numpy()
    np.testing.assert_allclose(inside, distances(labels).T, atol=0.01)
    assert item["distance"].shape == (2, *labels.T.shape)
    assert (item["distance"][1] == 1).all()


def test_the_label_map_is_decoded_once(in_voxels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded, read_label = [], MappedCase.read_label

    def watched(case: MappedCase, *arguments: Any) -> None:
        decoded.append(case.name)
        read_label(case, *arguments)

    monkeypatch.setattr(MappedCase, "read_label", watched)
    LoadPhid(in_voxels)({"case": "a"})
    assert decoded == ["a"]


@pytest.mark.parametrize("scale", SCALES)
def test_untouched_it_is_the_stored_map(in_voxels: Path, scale: Scale) -> None:
    labels, _ = ovoids()
    item = run(in_voxels, scale=scale)
    maxima, means = item["maxima"].numpy(), item["means"].numpy()
    label, phi = arrays(item)
    plain = maxima[label] - distances(labels).T
    expected = {
        "none": plain,
        "region": plain / maxima[label],
        "balanced": (1 + plain) / (1 + means[label]) - 1,
    }[scale]
    np.testing.assert_allclose(phi, expected, atol=0.01)
    assert "distance" not in item


@pytest.mark.parametrize(
    "moved",
    [
        mt.RandRotated(KEYS, range_z=0.4, prob=1, mode=MODES, padding_mode="zeros"),
        mt.RandRotated(KEYS, range_z=0.4, prob=1, mode=MODES),
        mt.RandAffined(
            KEYS,
            rotate_range=(0, 0, 0.5),
            translate_range=(4, 4, 0),
            prob=1,
            mode=MODES,
            padding_mode="zeros",
        ),
        mt.RandFlipd(KEYS, prob=1, spatial_axis=1),
        mt.RandRotate90d(KEYS, prob=1),
    ],
    ids=["rotated", "border", "affine", "flipped", "quarter"],
)
def test_phi_is_that_of_the_moved_label_map(in_voxels: Path, moved: Any) -> None:
    errors = []
    for seed in range(3):
        item = run(in_voxels, moved, seed=seed)
        label, phi = arrays(item)
        measured = distances(np.where(label == IGNORE_INDEX, 0, label))
        near = (measured <= 1) & (label != IGNORE_INDEX)
        errors.append(np.abs(item["maxima"].numpy()[label[near]] - measured[near] - phi[near]))
    assert np.concatenate(errors).mean() <= 0.1


def test_in_mm_it_follows_a_turn_in_the_plane_of_equal_spacing(in_mm: Path) -> None:
    item = run(in_mm, mt.RandRotated(KEYS, range_z=0.4, prob=1, mode=MODES, padding_mode="zeros"))
    label, phi = arrays(item)
    measured = distances(np.where(label == IGNORE_INDEX, 0, label), SPACING[::-1])
    near = (measured <= min(SPACING)) & (label != IGNORE_INDEX)
    expected = item["maxima"].numpy()[label[near]] - measured[near]
    assert np.abs(expected - phi[near]).mean() <= 0.15 * min(SPACING)  # where slices are three times as far


def test_a_zoom_costs_what_the_docs_say(in_voxels: Path) -> None:
    item = run(in_voxels, mt.Zoomd(KEYS, 1.15, mode=ZOOM_MODES, keep_size=False))
    label, phi = arrays(item)
    measured = distances(label)
    near = measured <= 1
    assert 0.15 <= np.abs(item["maxima"].numpy()[label[near]] - measured[near] - phi[near]).mean() <= 0.3


@pytest.mark.parametrize(("units", "factor"), [("voxel", 1.25), ("mm", 1.0)])
def test_a_zoom_is_read_from_the_affine(in_voxels: Path, in_mm: Path, units: Units, factor: float) -> None:
    """In voxels all is larger; in mm it is as large as before, in voxels that are smaller."""
    dataset = in_voxels if units == "voxel" else in_mm
    item = run(dataset, mt.Zoomd(KEYS, 1.25, mode=ZOOM_MODES))
    plain = LoadPhid(dataset)({"case": "a"})
    assert item["maxima"].numpy() == pytest.approx(plain["maxima"].numpy() * factor, rel=0.02)
    assert item["means"].numpy() == pytest.approx(plain["means"].numpy() * factor, rel=0.02)
    label, phi = arrays(item)
    spacing = (1.0, 1.0, 1.0) if units == "voxel" else np.linalg.norm(item["phi"].affine[:3, :3], axis=0)
    expected = item["maxima"].numpy()[label] - distances(label, spacing)
    assert np.abs(expected - phi)[label == 1].mean() <= 0.5 * min(spacing)


def rotated(radians: float) -> mt.Rotated:
    return mt.Rotated(KEYS, (0, 0, radians), mode=MODES, padding_mode="zeros")


@pytest.mark.parametrize(
    "chain",
    [
        (rotated(0.35),),
        (mt.SpatialPadd(KEYS, (66, 60, 50)), rotated(0.35)),
        (rotated(0.35), rotated(-0.2)),
        (rotated(0.35), mt.Zoomd(KEYS, 1.5, mode=ZOOM_MODES, keep_size=False)),
        (rotated(0.35), mt.CenterSpatialCropd(KEYS, (44, 40, 36)), rotated(-0.2), rotated(0.1)),
    ],
    ids=["rotate", "pad-rotate", "rotate-rotate", "rotate-zoom", "crop"],
)
def test_beside_padding_phi_is_as_good_as_elsewhere(in_voxels: Path, chain: tuple[Any, ...]) -> None:
    item = run(in_voxels, *chain)
    rim, interior = rim_and_interior(*arrays(item), item["maxima"].numpy())
    assert rim.size > 5000
    assert rim.max() <= interior.max() + 0.1
    assert rim.mean() <= interior.mean() + 0.1


@pytest.mark.parametrize("scale", SCALES)
def test_padding_is_ignored_and_has_no_penalty(in_voxels: Path, scale: Scale) -> None:
    sides = (60, 60, 50)
    label, phi = arrays(run(in_voxels, mt.SpatialPadd(KEYS, sides), scale=scale))
    labels, _ = ovoids()
    ends = [((large - small) // 2, small) for large, small in zip(sides, labels.T.shape, strict=True)]
    volume = tuple(slice(start, start + size) for start, size in ends)
    outside = np.ones(sides, bool)
    outside[volume] = False
    assert (label[outside] == IGNORE_INDEX).all()
    assert not phi[label == IGNORE_INDEX].any()
    assert np.array_equal(label[volume], np.searchsorted([0, 5, 7], labels.T))


@pytest.mark.parametrize(
    ("between", "message"),
    [
        (mt.NormalizeIntensityd(["image", "distance"]), "intensity"),
        (mt.ScaleIntensityd(["image", "distance"]), "intensity"),
        (mt.NormalizeIntensityd("distance", channel_wise=True), "intensity"),
        (mt.RandGaussianNoised(KEYS, prob=1, std=9), "intensity"),
        (mt.RandGaussianNoised(KEYS, prob=1, std=0.02), "ones beside D"),
        (mt.ScaleIntensityd("distance", None, None, factor=-0.5), "ones beside D"),
        (mt.CenterSpatialCropd("distance", (20, 20, 20)), "moved apart"),
        (mt.Rotated(["image", "distance"], (0, 0, 0.2), mode="bilinear"), "moved apart"),
        (mt.AsDiscreted("label", to_onehot=3), "'label' is"),
        (mt.Affined(KEYS, scale_params=(1, 1, 1.4), mode=MODES), "stretch by"),
        (mt.Affined(KEYS, shear_params=(0.3,) * 6, mode=MODES), "stretch by"),
        (mt.DeleteItemsd("maxima"), "'maxima' is missing"),
        (mt.DeleteItemsd("distance"), "'distance' is missing"),
        (mt.ToTensord("distance", track_meta=False), "lost its metadata"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_leaves_no_distance_is_refused(in_voxels: Path, between: Any, message: str) -> None:
    assert message in error(in_voxels, between).detail


def test_in_mm_a_turn_out_of_plane_is_refused(in_mm: Path) -> None:
    assert "in mm" in error(in_mm, mt.Rotated(KEYS, (0.4, 0.0, 0.0), mode=MODES)).detail


def test_without_metadata_it_says_so(in_voxels: Path) -> None:
    set_track_meta(False)
    try:
        assert "lost its metadata" in error(in_voxels, mt.RandFlipd(KEYS, prob=1)).detail
    finally:
        set_track_meta(True)


def test_names_and_classes(in_voxels: Path) -> None:
    with pytest.raises(BadInput, match="wanted the name of a case"):
        LoadPhid(in_voxels)({"patient": "a"})
    with pytest.raises(NotFound):
        LoadPhid(in_voxels)({"case": "nobody"})
    with pytest.raises(BadLabels, match="case 'a' has label 7"):
        LoadPhid(in_voxels, classes=(0, 5))({"case": "a"})
    for wrong in ((5, 7), (0, 5, 5, 7), ()):
        with pytest.raises(BadInput, match="wanted 0 first"):
            LoadPhid(in_voxels, classes=wrong)
    with pytest.raises(BadInput, match="scale 'letter'"):
        MakePhid("letter")  # type: ignore[arg-type]


def test_through_a_cache_and_a_loader(in_voxels: Path) -> None:
    crop = mt.RandCropByPosNegLabeld(KEYS, "label", (16, 16, 16), num_samples=2)
    pipeline = mt.Compose([LoadPhid(in_voxels), crop, MakePhid()])
    assert pickle.loads(pickle.dumps(pipeline))({"case": "a"})
    cached = CacheDataset([{"case": "a"}, {"case": "a"}], pipeline, progress=False)
    batch = next(iter(DataLoader(cached, batch_size=2)))
    assert batch["phi"].shape == batch["label"].shape == batch["image"].shape == (4, 1, 16, 16, 16)
    assert batch["maxima"].shape == (4, 3)
    assert isinstance(batch["phi"], MetaTensor)


def test_through_a_persistent_dataset(in_voxels: Path, tmp_path: Path) -> None:
    turned = mt.RandRotated(KEYS, range_z=0.4, prob=1, mode=MODES, padding_mode="zeros")
    pipeline = mt.Compose([LoadPhid(in_voxels), turned, MakePhid()])
    cases = [{"case": "a"}]
    kept = PersistentDataset(cases, pipeline, tmp_path / "kept", track_meta=True, weights_only=False)
    assert kept[0]["phi"].any()  # the first is read, the second comes from the disk
    assert kept[0]["phi"].shape == kept[0]["image"].shape
    bare = PersistentDataset(cases, pipeline, tmp_path / "bare")
    assert bare[0]["phi"].any()  # not from the disk yet
    with pytest.raises(RuntimeError) as caught:
        bare[0]
    assert "track_meta=True" in str(caught.value.__cause__)


@pytest.mark.parametrize("lazy", [False, True])
def test_resampled_once_or_step_by_step(in_voxels: Path, lazy: bool) -> None:
    moves: list[Any] = [
        mt.RandRotated(KEYS, range_z=0.4, prob=1, mode=MODES, padding_mode="zeros"),
        mt.RandFlipd(KEYS, prob=1, spatial_axis=0),
        mt.RandSpatialCropd(KEYS, (40, 40, 30), random_size=False),
    ]
    pipeline = mt.Compose([LoadPhid(in_voxels), *moves, MakePhid("none")], lazy=lazy)
    pipeline.set_random_state(0)
    item = pipeline({"case": "a"})
    assert item["phi"].shape == (1, 40, 40, 30)
    assert item["maxima"].numpy() == pytest.approx(LoadPhid(in_voxels)({"case": "a"})["maxima"].numpy())


def test_without_monai_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, MakePhid.__module__)
    monkeypatch.setitem(sys.modules, "monai.data.meta_tensor", None)
    with pytest.raises(DmapsvcError, match=r"pip install 'dmapsvc\[monai\]'"):
        importlib.import_module(MakePhid.__module__)


def test_the_example_of_the_docs_runs(doc_knees: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(doc_knees)
    (block,) = blocks("monai.md")
    printed = run_block_here(block)
    assert np.isfinite([float(line) for line in printed[-2:]]).all()
