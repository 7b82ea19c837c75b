"""Oddities that are accepted are told, in words; ordinary masks get none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dmapsvc.pipeline import run_case
from dmapsvc.spec import MapSpec
from dmapsvc.store import Dataset
from tests.pipeline.conftest import WriteNifti


def notes(tmp_path: Path, write_nifti: WriteNifti, labels: NDArray[Any], **how: Any) -> tuple[str, ...]:
    dataset = Dataset.create(tmp_path / "d.zarr", MapSpec(labels=how.pop("chosen", None)))
    return run_case(write_nifti(tmp_path / "m.nii", labels, **how), dataset, "a").notes


def test_a_mask_of_zeros(tmp_path: Path, write_nifti: WriteNifti) -> None:
    assert notes(tmp_path, write_nifti, np.zeros((4, 5, 6), np.uint8)) == (
        "The whole mask is background: it has no boundary, so Φ is 0 everywhere.",
    )


def test_a_mask_of_one_class(tmp_path: Path, write_nifti: WriteNifti) -> None:
    assert notes(tmp_path, write_nifti, np.full((4, 5, 6), 3, np.uint8)) == (
        "The whole mask is label 3: it has no boundary, so Φ is 0 everywhere.",
    )


def test_thin_classes_and_only_they(
    tmp_path: Path, write_nifti: WriteNifti, blocks: NDArray[np.uint8]
) -> None:
    blocks[9, 2:15, 3:20] = 2
    assert notes(tmp_path, write_nifti, blocks) == (
        "Label 2 is at most two voxels thick everywhere, so Φ is 0 there.",
    )


def test_absent_labels_many_of_them_counted(
    tmp_path: Path, write_nifti: WriteNifti, blocks: NDArray[np.uint8]
) -> None:
    assert notes(tmp_path, write_nifti, blocks, chosen=(5, 7)) == ("Label 7 is not in the mask.",)
    many = tuple(range(20, 31))
    dataset = Dataset.create(tmp_path / "many.zarr", MapSpec(labels=(5, *many)))
    assert run_case(tmp_path / "m.nii", dataset, "a").notes == (
        "Labels 20, 21, 22, 23, 24, 25, 26, 27 and 3 more are not in the mask.",
    )


def test_a_mask_with_other_labels_than_those_wanted_says_which(
    tmp_path: Path, write_nifti: WriteNifti, blocks: NDArray[np.uint8]
) -> None:
    assert notes(tmp_path, write_nifti, blocks, chosen=(7, 8)) == (
        "Labels 7 and 8 are not in the mask, which has 5 and 9.",
        "The whole mask is background: it has no boundary, so Φ is 0 everywhere.",
    )
    empty = Dataset.create(tmp_path / "empty.zarr", MapSpec(labels=(8,)))
    found = run_case(write_nifti(tmp_path / "zero.nii", np.zeros((4, 5, 6), np.uint8)), empty, "a").notes
    assert found[0] == "Label 8 is not in the mask, which has none at all."


@pytest.mark.parametrize(
    ("shape", "note"),
    [
        ((1, 20, 30), "Axis z has a single voxel: distances run along the others only."),
        ((20, 1, 30), "Axis y has a single voxel: distances run along the others only."),
        ((1, 30, 1), "Axes z and x have a single voxel: distances run along the others only."),
    ],
)
def test_flat_masks(tmp_path: Path, write_nifti: WriteNifti, shape: tuple[int, int, int], note: str) -> None:
    labels = np.zeros(shape, np.uint8)
    labels[tuple(slice(n // 4, n // 4 + max(1, n // 2)) for n in shape)] = 1
    assert notes(tmp_path, write_nifti, labels) == (note,)


def test_no_spacing(tmp_path: Path, blocks: NDArray[np.uint8]) -> None:
    np.save(tmp_path / "a.npy", blocks)
    dataset = Dataset.create(tmp_path / "d.zarr", MapSpec())
    assert run_case(tmp_path / "a.npy", dataset, "a").notes == (
        "The file has no spacing: it is kept as a grid of 1 mm voxels.",
    )


def test_an_oblique_frame_is_told_and_a_permuted_one_is_not(
    tmp_path: Path, write_nifti: WriteNifti, blocks: NDArray[np.uint8]
) -> None:
    turn = np.deg2rad(10)
    oblique = np.eye(4)
    oblique[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    assert notes(tmp_path, write_nifti, blocks, affine=oblique) == (
        "The grid lies oblique in space: voxels and affine are kept as they are, nothing is resampled.",
    )
    permuted = np.zeros((4, 4))
    permuted[[0, 1, 2, 3], [2, 0, 1, 3]] = (-0.7, 0.36, -0.36, 1)
    dataset = Dataset.create(tmp_path / "p.zarr", MapSpec())
    assert run_case(write_nifti(tmp_path / "p.nii", blocks, affine=permuted), dataset, "a").notes == ()


def test_a_dicom_segmentation_says_where_its_grid_ends(shared: Path, tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d.zarr", MapSpec())
    outcome = run_case(shared / "dicomseg_liver.dcm", dataset, "a")
    assert any("is the planes that it has" in note for note in outcome.notes)
