"""The shapes of the benchmark's knees: grids, anatomies, deformations, and who is made of which anatomy."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from benchmarks.knees import anatomy, deformation, grid
from benchmarks.knees.lineup import SIZES, SUBJECTS, lineup, shares_anatomies
from demo import phantom
from dmapsvc.errors import BadFile, BadInput

SHAPE = (20, 40, 40)
FINE = grid.finer(SHAPE)


def test_a_voxel_is_the_mean_of_its_points() -> None:
    fine = np.arange(2 * 4 * 6, dtype=np.float32).reshape(2, 4, 6)
    coarse = grid.averaged(fine)
    assert coarse.shape == (1, 2, 3)
    assert coarse[0, 1, 2] == pytest.approx(fine[0:2, 2:4, 4:6].mean())


def test_noise_is_one_field_on_every_grid() -> None:
    fine, coarse = (grid.smooth_noise(15.0, shape, np.random.default_rng(3)) for shape in (FINE, SHAPE))
    assert np.abs(grid.averaged(fine) - coarse).max() < 0.1
    assert fine.std() == pytest.approx(1, abs=0.1)


@given(st.integers(2, 90))
def test_no_test_subject_shares_its_anatomy_with_a_training_subject(anatomies: int) -> None:
    subjects = lineup(anatomies)
    assert Counter(subject.side for subject in subjects) == SIZES
    assert len({subject.name for subject in subjects}) == SUBJECTS
    assert not shares_anatomies(subjects)
    assert max(subject.anatomy for subject in subjects) < anatomies
    if anatomies >= SUBJECTS:
        assert len({subject.anatomy for subject in subjects}) == SUBJECTS
    elif anatomies > 3:  # validation does not see those of training either, and none is left out
        used = {side: {one.anatomy for one in subjects if one.side == side} for side in SIZES}
        assert not used["valid"] & (used["train"] | used["test"])
        assert set.union(*used.values()) == set(range(anatomies))


def test_a_single_anatomy_is_everybodys_and_none_is_nobodys() -> None:
    assert shares_anatomies(lineup(1))
    with pytest.raises(BadInput, match="no anatomy"):
        lineup(0)


def test_an_anatomy_is_the_signed_distances_to_its_bones() -> None:
    made = anatomy.generated(5, SHAPE)
    labels, fine = phantom.knee(5, FINE)
    for index, label in enumerate(anatomy.NAMES):
        mask, distances = labels == label, made.distances[index]
        outside = ndimage.distance_transform_edt(~mask, grid.spacing(FINE))
        inside = ndimage.distance_transform_edt(mask, grid.spacing(FINE))
        assert np.abs(distances - (outside - inside)).max() < max(grid.spacing(FINE))
        assert np.mean((distances < 0) == mask) > 0.995
    corner = made.affine @ (-0.5, -0.5, -0.5, 1)  # of the volume: the same on both grids
    assert np.allclose(corner, fine @ (-0.5, -0.5, -0.5, 1))


@pytest.mark.parametrize("turn", ["LPS", "RAS", "AIL"])
def test_a_file_gives_the_same_anatomy_whatever_the_order_of_its_axes(tmp_path: Path, turn: str) -> None:
    labels, affine = phantom.knee(2, FINE)
    image = nib.Nifti1Image(labels.transpose(2, 1, 0), affine)
    ornt = nib.orientations
    turned = ornt.ornt_transform(ornt.io_orientation(affine), ornt.axcodes2ornt(tuple(turn)))
    nib.save(image.as_reoriented(turned), tmp_path / "turned.nii.gz")
    phantom.write(tmp_path / "as_is.nii.gz", labels, affine)
    other, one = (
        anatomy.from_file(tmp_path / name, (1, 2, 3), SHAPE) for name in ("turned.nii.gz", "as_is.nii.gz")
    )
    assert np.array_equal(other.distances, one.distances)
    assert np.allclose(other.affine, one.affine, atol=1e-3)


def test_a_file_keeps_the_places_of_its_bones(tmp_path: Path) -> None:
    labels, affine = phantom.knee(2, FINE)
    phantom.write(tmp_path / "knee.nii.gz", labels, affine)
    read = anatomy.from_file(tmp_path / "knee.nii.gz", (1, 2, 3), SHAPE)
    patella = grid.averaged((read.distances[2:] < 0).astype(np.float32))[0]
    found = read.affine @ (*ndimage.center_of_mass(patella)[::-1], 1)
    wanted = affine @ (*ndimage.center_of_mass(labels == phantom.PATELLA)[::-1], 1)
    assert np.abs(found - wanted).max() < 1.5  # mm; a voxel has 3.5 and more


def test_a_file_without_a_bone_says_which(tmp_path: Path) -> None:
    labels, affine = phantom.knee(2, SHAPE)
    phantom.write(tmp_path / "knee.nii.gz", labels, affine)
    with pytest.raises(BadFile, match=r"no voxel is 7.*patella"):
        anatomy.from_file(tmp_path / "knee.nii.gz", (1, 2, 7), SHAPE)


def test_a_bone_that_is_not_in_the_field_of_view_is_told(tmp_path: Path) -> None:
    labels = np.zeros((40, 400, 40), np.uint8)
    labels[5:35, :300, 5:35], labels[5:35, 301:395, 5:35], labels[1:4, 395:, 1:4] = 1, 2, 3
    affine = np.array([[0, 0, -1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
    phantom.write(tmp_path / "leg.nii.gz", labels, affine)
    with pytest.raises(BadInput, match=r"leg\.nii\.gz: no tibia in the field of view"):
        anatomy.from_file(tmp_path / "leg.nii.gz", (1, 2, 3), SHAPE)
    with pytest.raises(BadInput, match="generated 0: no "):
        anatomy.generated(0, (1, 1, 1))


def test_the_least_volume_of_a_stretch_and_of_a_fold() -> None:
    z = np.linspace(0, 112, 12, endpoint=False, dtype=np.float32).reshape(-1, 1, 1)
    along = np.zeros((3, 12, 14, 14), np.float32)
    along[0] = 0.25 * z
    assert deformation.least_volume(along) == pytest.approx(1.25, rel=1e-5)
    assert deformation.least_volume(-6 * along) == pytest.approx(-0.5, rel=1e-5)


def test_deformations_bend_and_never_fold() -> None:
    for seed in range(2):
        displacement = deformation.deformation(np.random.default_rng(seed))
        assert displacement.std() > 2  # mm
        assert deformation.least_volume(displacement) > 0.1


def test_a_velocity_that_would_fold_is_made_smaller() -> None:
    random = np.random.default_rng(0)
    velocity = 60 * np.stack([grid.control_noise(6.0, random) for _ in range(3)])
    displacement = deformation.unfolded(velocity)
    assert deformation.least_volume(velocity) < 0  # as a displacement, it folds
    assert deformation.least_volume(displacement) > 0.1
    assert displacement.std() > 1


def test_fields_are_taken_from_where_the_displacement_says() -> None:
    field = np.zeros((1, *SHAPE), np.float32)
    field[0, 10, 20, 20] = 1
    sides = grid.spacing(SHAPE)
    displacement = np.zeros((3, *SHAPE), np.float32)
    displacement[0], displacement[2] = 2 * sides[0], -3 * sides[2]
    found = deformation.moved(field, displacement)[0]
    assert np.unravel_index(found.argmax(), SHAPE) == (8, 20, 23)
    assert found.max() == pytest.approx(1, abs=1e-4)
