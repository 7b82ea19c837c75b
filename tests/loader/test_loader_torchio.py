"""Through TorchIO's own transforms, Φ is what would be measured on the transformed label map."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchio as tio
from numpy.typing import NDArray

from dmapsvc.errors import BadInput, BadLabels, DmapsvcError, NotFound
from dmapsvc.loader.adaptors.torchio import MakePhi, phi_subject, phi_subjects
from dmapsvc.loader.batch import IGNORE_INDEX
from dmapsvc.region import SCALES, Scale
from dmapsvc.spec import Units
from tests.loader.docs_run import blocks, run_block_here
from tests.loader.ovoids import AFFINE, SPACING, distances, ovoids, publish_ovoids, rim_and_interior

KEYS = ("image", "label", "distance")


@pytest.fixture(scope="module")
def in_voxels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_ovoids(tmp_path_factory.mktemp("voxels"), "voxel")


@pytest.fixture(scope="module")
def in_mm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_ovoids(tmp_path_factory.mktemp("mm"), "mm")


class Own(tio.Transform):
    """A transform of a user's own, of which TorchIO's kinds say nothing."""

    def __init__(self, change: Callable[[tio.Subject], object]) -> None:
        super().__init__()
        self.change = change

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        self.change(subject)
        return subject


def run(dataset: Path, *between: tio.Transform, scale: Scale = "none", seed: int = 0) -> tio.Subject:
    torch.manual_seed(seed)
    made = tio.SubjectsDataset(phi_subjects(dataset), tio.Compose([*between, MakePhi(scale)]))[0]
    assert isinstance(made, tio.Subject)
    return made


def arrays(subject: tio.Subject) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Label and Φ, (i, j, k), and the maxima."""
    return subject.label.data[0].numpy(), subject.phi.data[0].numpy(), subject["maxima"].numpy()  # type: ignore[attr-defined]


def mean_error(subject: tio.Subject, spacing: tuple[float, ...], reach: float) -> float:
    """Of Φ where the transformed label map is at most `reach` away from a boundary."""
    label, phi, maxima = arrays(subject)
    measured = distances(np.where(label == IGNORE_INDEX, 0, label), spacing)
    near = (measured <= reach) & (label != IGNORE_INDEX)
    return float(np.abs(maxima[label[near]] - measured[near] - phi[near]).mean())


def test_a_case_is_read_as_its_file_would_be(in_voxels: Path) -> None:
    labels, image = ovoids()
    subject = phi_subject(in_voxels, "a")
    assert subject["case"] == "a"
    assert np.array_equal(subject.image.data[0].numpy(), image.T)
    assert np.array_equal(subject.label.data[0].numpy(), np.searchsorted([0, 5, 7], labels.T))
    np.testing.assert_allclose(subject.distance.data[0].numpy(), distances(labels).T, atol=0.01)
    assert subject.distance.data.shape == (2, *labels.T.shape)
    assert (subject.distance.data[1] == 1).all()
    assert (subject.inside.data == 1).all()
    for key in KEYS:
        assert np.allclose(subject.get_image(key).affine, AFFINE)
        assert subject.get_image(key).spacing == pytest.approx(SPACING[::-1])


def test_nothing_is_read_before_it_is_asked_for(in_voxels: Path) -> None:
    dataset = tio.SubjectsDataset(phi_subjects(in_voxels))
    assert dataset[0].distance.data.any()
    assert not any(image._loaded for subject in dataset.dry_iter() for image in subject.get_images(False))


@pytest.mark.parametrize("scale", SCALES)
def test_untouched_it_is_the_stored_map(in_voxels: Path, scale: Scale) -> None:
    labels, _ = ovoids()
    subject = run(in_voxels, scale=scale)
    label, phi, maxima = arrays(subject)
    means = subject["means"].numpy()  # type: ignore[attr-defined]
    plain = maxima[label] - distances(labels).T
    expected = {
        "none": plain,
        "region": plain / maxima[label],
        "balanced": (1 + plain) / (1 + means[label]) - 1,
    }[scale]
    np.testing.assert_allclose(phi, expected, atol=0.01)
    assert not {"distance", "inside"} & set(subject)


# k, along which the slices lie, runs from front to back: a turn about y is in-plane
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "moved",
    [
        tio.RandomAffine(scales=0, degrees=(0, 0, 20, 30, 0, 0)),
        tio.RandomAffine(scales=0, degrees=(0, 0, 20, 30, 0, 0), translation=(2, 0, 2)),
        tio.RandomFlip((0, 1, 2)),
        tio.ToCanonical(),
    ],
    ids=["affine", "moved", "flip", "canonical"],
)
def test_phi_is_that_of_the_moved_label_map(in_voxels: Path, moved: tio.Transform, seed: int) -> None:
    assert mean_error(run(in_voxels, moved, seed=seed), (1, 1, 1), 1) <= 0.1


def test_in_mm_it_follows_any_turn(in_mm: Path) -> None:
    subject = run(in_mm, tio.RandomAffine(scales=0, degrees=(10, 20, 0, 0, 10, 20)))
    assert mean_error(subject, SPACING[::-1], min(SPACING)) <= 0.25 * min(SPACING)


def test_a_zoom_costs_what_the_docs_say(in_voxels: Path) -> None:
    assert 0.15 <= mean_error(run(in_voxels, turned(0, zoom=1.15)), (1, 1, 1), 1) <= 0.3


@pytest.mark.parametrize("units", ["voxel", "mm"])
def test_a_zoom_is_read_from_the_history(in_voxels: Path, in_mm: Path, units: Units) -> None:
    dataset = in_voxels if units == "voxel" else in_mm
    zooms = tio.Affine((1.25,) * 3, (0, 0, 0), (0, 0, 0)), tio.Affine((0.8 * 1.1,) * 3, (0, 9, 0), (0, 0, 0))
    subject, plain = run(dataset, *zooms), run(dataset)
    for key in ("maxima", "means"):
        assert subject[key].numpy() == pytest.approx(1.1 * plain[key].numpy(), rel=1e-3)  # type: ignore[attr-defined]
    spacing = (1.0, 1.0, 1.0) if units == "voxel" else SPACING[::-1]
    label, phi, maxima = arrays(subject)
    bone = label == 1
    assert np.abs(maxima[1] - distances(label, spacing)[bone] - phi[bone]).mean() <= 0.3


def turned(degrees: float, zoom: float = 1, **options: Any) -> tio.Affine:
    return tio.Affine((zoom,) * 3, (0, degrees, 0), (0, 0, 0), **options)


@pytest.mark.parametrize(
    "chain",
    [
        (turned(20),),
        (tio.CropOrPad((66, 60, 50)), turned(20)),
        (tio.Pad(4, padding_mode=-1000), turned(20)),
        (turned(20), turned(-12)),
        (turned(20, default_pad_value="mean"), turned(-12)),
        (turned(20, default_pad_value=7, default_pad_label=3), turned(-12), turned(5)),
        (turned(20), turned(0, zoom=1.25)),
        (turned(20), tio.Crop(5), turned(-12)),
    ],
    ids=["rotate", "pad-rotate", "pad-other", "rotate-rotate", "mean", "three", "rotate-zoom", "crop"],
)
def test_beside_padding_phi_is_as_good_as_elsewhere(
    in_voxels: Path, chain: tuple[tio.Transform, ...]
) -> None:
    label, phi, maxima = arrays(run(in_voxels, *chain))
    rim, interior = rim_and_interior(label, phi, maxima)
    assert rim.size > 5000
    assert rim.max() <= interior.max() + 0.1
    assert rim.mean() <= interior.mean() + 0.1


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
    "between",
    [
        tio.Pad(3),
        tio.CropOrPad((60, 60, 50)),
        tio.RandomAffine(scales=0, degrees=(0, 0, 30, 30, 0, 0), default_pad_value="mean"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_padding_is_ignored_and_has_no_penalty(in_voxels: Path, between: tio.Transform, scale: Scale) -> None:
    label, phi, _ = arrays(run(in_voxels, between, scale=scale))
    assert label[0, 0, 0] == label[-1, -1, -1] == IGNORE_INDEX
    assert 0.4 < (label != IGNORE_INDEX).mean() < 1
    assert not phi[label == IGNORE_INDEX].any()
    assert set(np.unique(label)) == {IGNORE_INDEX, 0, 1, 2}


@pytest.mark.parametrize(
    ("between", "message"),
    [
        (tio.RandomNoise(std=9), "Noise changed 'distance'"),
        (tio.ZNormalization(), "ZNormalization changed 'distance'"),
        (tio.Lambda(lambda values: -values, types_to_apply=[tio.INTENSITY]), "Lambda changed 'distance'"),
        (tio.Lambda(lambda values: values, exclude=["distance", "label"]), "Lambda changed 'inside'"),
        (tio.RandomAnisotropy(), "Resample moved some"),
        (tio.RandomAnisotropy(downsampling=(3, 4), scalars_only=False), "in voxel stretch by"),
        (tio.RandomFlip((0, 1, 2), flip_probability=1, include=["image", "distance"]), "Flip moved some"),
        (tio.OneHot(), "OneHot changed 'label'"),
        (tio.OneHot(exclude=["label"]), "OneHot changed 'inside'"),
        (tio.RemapLabels({1: 2}), "RemapLabels changed 'label'"),
        (tio.Pad(3, padding_mode="minimum"), "padding_mode='minimum'"),
        (tio.Pad(3, padding_mode=1), "padding_mode=1"),
        (tio.RandomAffine(default_pad_label=1), "default_pad_label=1"),
        (Own(lambda subject: subject.label.set_data(subject.label.data.repeat(3, 1, 1, 1))), "'label' is"),
        (Own(lambda subject: subject.distance.set_data(subject.distance.data * 3)), "ones beside D"),
        (Own(lambda subject: subject.remove_image("inside")), "'inside' is missing"),
        (tio.RandomElasticDeformation(max_displacement=2), "cannot follow"),
        (tio.Affine((1.3, 1, 1), (0, 0, 0), (0, 0, 0)), "stretch by"),
        (tio.Affine((1, 1, 1), (40, 0, 0), (0, 0, 0)), "in voxel"),
    ],
)
def test_what_leaves_no_distance_is_refused(in_voxels: Path, between: tio.Transform, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        run(in_voxels, between)


def test_intensity_transforms_that_leave_it_out(in_voxels: Path) -> None:
    subject = run(
        in_voxels,
        tio.RandomNoise(include=["image"]),
        tio.ZNormalization(exclude=["distance"]),
        tio.RandomAnisotropy(include=["image"]),
    )
    assert np.array_equal(arrays(subject)[1], arrays(run(in_voxels))[1])


def test_names_and_classes(in_voxels: Path) -> None:
    with pytest.raises(NotFound):
        phi_subject(in_voxels, "nobody")
    with pytest.raises(BadLabels, match="case 'a' has label 7"):
        phi_subject(in_voxels, "a", classes=(0, 5))
    for wrong in ((5, 7), (0, 5, 5, 7), ()):
        with pytest.raises(BadInput, match="wanted 0 first"):
            phi_subjects(in_voxels, classes=wrong)
    with pytest.raises(BadInput, match="scale 'letter'"):
        MakePhi("letter")  # type: ignore[arg-type]
    subject = phi_subject(in_voxels, "a")
    subject.remove_image("distance")
    with pytest.raises(BadInput, match="'distance' is missing"):
        MakePhi()(subject)
    with pytest.raises(BadInput, match="wanted what phi_subject made"):
        MakePhi()(tio.Subject(dict(phi_subject(in_voxels, "a"))))


def test_through_a_queue_and_a_loader(in_voxels: Path) -> None:
    subjects = tio.SubjectsDataset(phi_subjects(in_voxels) * 2, tio.Compose([tio.RandomFlip(), MakePhi()]))
    assert pickle.loads(pickle.dumps(subjects))[0]
    queue = tio.Queue(subjects, 4, 2, tio.UniformSampler((16, 16, 8)))
    batch = next(iter(tio.SubjectsLoader(queue, batch_size=4)))
    for key in ("image", "label", "phi"):
        assert batch[key][tio.DATA].shape == (4, 1, 16, 16, 8)
    assert batch["maxima"].shape == (4, 3)


def test_without_torchio_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, MakePhi.__module__)
    monkeypatch.setitem(sys.modules, "torchio", None)
    with pytest.raises(DmapsvcError, match=r"pip install 'dmapsvc\[torchio\]'"):
        importlib.import_module(MakePhi.__module__)


def test_the_example_of_the_docs_runs(doc_knees: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(doc_knees)
    (block,) = blocks("torchio.md")
    printed = run_block_here(block)
    assert np.isfinite([float(line) for line in printed[-2:]]).all()
