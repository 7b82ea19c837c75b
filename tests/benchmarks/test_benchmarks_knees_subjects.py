"""The benchmark's subjects: their labels, what is hard about their images, and the folder they come in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.knees import grid, image, subjects
from benchmarks.knees.anatomy import NAMES, Anatomy, generated
from benchmarks.knees.grid import Array
from benchmarks.knees.knee import Knee, labelled, make
from benchmarks.knees.lineup import Subject
from dmapsvc.errors import BadInput, Conflict
from dmapsvc.store import Dataset
from dmapsvc.train.split import Split
from dmapsvc.volumes import read_image, read_labels

SHAPE = (20, 40, 40)


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return generated(1, SHAPE)


@pytest.fixture(scope="module")
def knee(anatomy: Anatomy) -> Knee:
    return make(anatomy, 1)


def test_a_subject_is_made_the_same_again_and_another_is_not(anatomy: Anatomy, knee: Knee) -> None:
    again, other = make(anatomy, 1), make(anatomy, 2)
    assert np.array_equal(again.image, knee.image)
    assert np.array_equal(again.labels, knee.labels)
    assert 0.02 < np.mean(other.labels != knee.labels) < 0.5


def test_every_bone_is_there_in_a_plausible_size(knee: Knee) -> None:
    voxel = np.prod(grid.spacing(SHAPE)) / 1000  # ml
    femur, tibia, patella = np.bincount(knee.labels.ravel(), minlength=4)[1:] * voxel
    assert 50 < tibia < 250
    assert 50 < femur < 250
    assert 5 < patella < 40


def test_a_bone_that_is_lost_is_told(anatomy: Anatomy) -> None:
    distances = anatomy.distances.copy()
    distances[2] = 50.0
    with pytest.raises(BadInput, match="subject 1 has no patella"):
        make(Anatomy(distances=distances, affine=anatomy.affine), 1)


def test_a_voxel_is_of_the_class_that_fills_most_of_it() -> None:
    bones = np.full((3, 2, 2, 4), 99.0, np.float32)
    bones[1, :, :, :2] = -99.0  # a voxel all of the second bone
    bones[2, 0, :, 2:] = -99.0  # half of a voxel of the third, and a little of the other half
    bones[2, 1, :, 2:] = 0.2 * min(grid.spacing((2, 2, 4)))
    assert labelled(bones).tolist() == [[[2, 3]]]
    bones[2, 0, :, 2] = 99.0  # a quarter and a little of the other is less
    assert labelled(bones).tolist() == [[[2, 0]]]


def _slab(thickness: float, shape: tuple[int, int, int]) -> Array:
    """Distances to two slabs, the second one 6 mm above the first, and to a bone far away."""
    height = (np.arange(shape[1], dtype=np.float32) + 0.5) / shape[1] * grid.FIELD[1] - grid.FIELD[1] / 2
    first, second = height + 3, 3 - height
    third = np.full_like(height, 60.0)
    profile = np.stack([np.maximum(first, -thickness), np.maximum(second, -thickness), third])
    return np.broadcast_to(profile[:, None, :, None], (3, *shape)).astype(np.float32)


def test_at_the_edge_cartilage_is_as_bright_as_marrow_and_cortex_is_dark() -> None:
    bones = _slab(60.0, (40, 280, 40))  # half a mm along y
    drawn = image.tissues(bones, np.random.default_rng(0))[10:30, :, 10:30]
    depth = bones[0, 10:30, :, 10:30]
    marrow = np.median(drawn[(depth < -4) & (depth > -10)])
    cartilage = np.median(drawn[(depth > 0.6) & (depth < 1.4)])
    cortex = np.median(drawn.min(axis=1, where=(depth < 0) & (depth > -1), initial=1000.0))
    assert abs(marrow - cartilage) < 0.25 * marrow
    assert cortex < 0.75 * marrow
    assert drawn[depth < -4].std() > 10  # texture


def test_averaging_hides_a_cortex_thinner_than_a_voxel() -> None:
    line = np.full((8, 80, 8), 400.0, np.float32)
    line[:, 41] = 70.0
    voxels = grid.averaged(line)
    assert voxels.min() == pytest.approx(235)


def test_noise_is_rician_and_the_bias_smooth() -> None:
    random = np.random.default_rng(1)
    air = image.measured(np.zeros((40, 80, 80), np.float32), random)
    assert air.dtype == np.int16
    sigma = air.mean() / np.sqrt(np.pi / 2)  # of a Rayleigh distribution: Rician without signal
    assert air.std() == pytest.approx(sigma * np.sqrt(2 - np.pi / 2), rel=0.03)
    flat = image.measured(np.full((40, 80, 80), 1000.0, np.float32), random).astype(np.float64)
    blocks = flat.reshape(5, 4, 10, 4, 10, 4).mean(axis=(1, 3, 5))
    assert blocks.max() / blocks.min() > 1.15  # the receiver's sensitivity
    assert _roughness(flat) == pytest.approx(sigma, rel=0.1)  # and besides that, the same noise


def _roughness(values: NDArray[np.float64]) -> float:
    """The deviation of neighbours from each other, over √2: of white noise, its own."""
    return float(np.diff(values, axis=0).std() / np.sqrt(2))


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> list[Subject]:
    """A line-up of three."""
    sides = ("train", "valid", "test")
    subjects_ = [Subject(name=f"knee{n}", number=n, side=side, anatomy=n) for n, side in enumerate(sides, 1)]
    monkeypatch.setattr(subjects, "lineup", lambda anatomies: tuple(subjects_))
    return subjects_


def test_the_folder_holds_files_a_dataset_and_its_split(three: list[Subject], tmp_path: Path) -> None:
    recipe = subjects.Recipe(shape=SHAPE)
    subjects.write(recipe, tmp_path, jobs=1)
    dataset = Dataset.open(tmp_path / "knees.zarr")
    assert dataset.names == NAMES
    assert Split.read(tmp_path / "split.json") == Split(train=("knee1",), valid=("knee2",), test=("knee3",))
    for subject in three:
        mask = read_labels(tmp_path / "masks" / f"{subject.name}.nii.gz")
        scan = read_image(tmp_path / "images" / f"{subject.name}.nii.gz")
        record = dataset.record(subject.name)
        assert record is not None
        assert record.shape == mask.array.shape == scan.array.shape == SHAPE
        assert [region.value for region in record.regions] == [0, *NAMES]
        assert mask.header.spacing == pytest.approx(grid.spacing(SHAPE), rel=1e-4)
    told = json.loads((tmp_path / "subjects.json").read_text())
    assert told["anatomies"]["knee3"] == "generated 3"
    assert not told["shares_anatomies"]

    kept = tmp_path / "images" / "knee1.nii.gz"
    before = kept.stat().st_mtime_ns
    subjects.write(recipe, tmp_path, jobs=1)
    assert kept.stat().st_mtime_ns == before
    with pytest.raises(Conflict, match="other subjects"):
        subjects.write(subjects.Recipe(shape=(22, 40, 40)), tmp_path, jobs=1)


def test_a_command_line_that_will_not_do_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in (["--shape", "48,96"], ["--labels", "1,x,3"], ["--masks", str(tmp_path / "none*")]):
        assert subjects.main(["-o", str(tmp_path / "out"), *wrong]) == 2
        assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "out").exists()
