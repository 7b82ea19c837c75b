"""Voxels that are no label map are refused by name, and so are segmentations that have none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import nrrd
import numpy as np
import pydicom
import pytest

from dmapsvc.errors import BadFile, BadLabels
from dmapsvc.volumes import read_image, read_labels
from tests.volumes.refusals import refused, save, with_field


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.nan, r"voxel \(1, 2, 3\) is nan; a label map holds whole numbers"),
        (np.inf, r"voxel \(1, 2, 3\) is inf"),
        (1.5, r"voxel \(1, 2, 3\) is 1\.5; a label map holds whole numbers"),
        (-2.0, r"voxel \(1, 2, 3\) is -2; labels are not negative"),
        (2.0**32, r"labels are at most 4294967295"),
    ],
)
def test_voxels_that_are_no_labels_are_named(value: float, words: str, tmp_path: Path) -> None:
    labels = np.zeros((2, 3, 4))
    labels[1, 2, 3] = value
    for name in ("a.npy", "a.nii.gz", "a.nrrd"):
        if name == "a.npy":
            np.save(tmp_path / name, labels)
        elif name == "a.nrrd":
            nrrd.write(str(tmp_path / name), labels.T, {})
        else:
            nib.save(nib.Nifti1Image(labels.T, np.eye(4)), tmp_path / name)
        refused(tmp_path / name, words, by_header=False, error=BadLabels)


def test_negative_and_too_large_integers_are_named(tmp_path: Path) -> None:
    labels = np.zeros((300, 64, 64), np.int64)  # several slabs
    labels[299, 1, 2] = -1
    refused(save(tmp_path / "a.npy", labels), r"voxel \(299, 1, 2\) is -1", by_header=False, error=BadLabels)
    labels[299, 1, 2] = 2**32
    refused(save(tmp_path / "a.npy", labels), r"voxel \(299, 1, 2\) is 4", by_header=False, error=BadLabels)
    labels[299, 1, 2] = 2**32 - 1
    assert read_labels(save(tmp_path / "a.npy", labels)).array.dtype == np.uint32


def test_at_most_65535_distinct_labels(tmp_path: Path) -> None:
    most = 7 * np.arange(65_536).reshape(16, 64, 64)  # 0 is no label
    labels = read_labels(save(tmp_path / "a.npy", most)).array
    np.testing.assert_array_equal(labels, most)
    one_more = np.concatenate([most, np.full((1, 64, 64), 5)])
    refused(save(tmp_path / "a.npy", one_more), "more than 65535 distinct", by_header=False, error=BadLabels)
    every = np.arange(65_536, dtype=np.uint16).reshape(16, 64, 64)
    assert read_labels(save(tmp_path / "a.npy", every)).array.dtype == np.uint16


def test_scaled_labels_are_accepted_if_they_come_out_whole(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.array([[[0, 51, 255]]], np.uint8), np.eye(4)), tmp_path / "a.nii")
    with_field(tmp_path / "a.nii", tmp_path / "b.nii", 112, "<f4", 1 / 51, 0)
    assert read_labels(tmp_path / "b.nii").array.reshape(-1).tolist() == [0, 1, 5]
    with_field(tmp_path / "a.nii", tmp_path / "b.nii", 112, "<f4", 1 / 50, 0)
    refused(tmp_path / "b.nii", r"voxel \(1, 0, 0\) is 1.02", by_header=False, error=BadLabels)


def test_the_smallest_unsigned_type_holds_the_labels(tmp_path: Path) -> None:
    for largest, dtype in {0: np.uint8, 255: np.uint8, 256: np.uint16, 65_536: np.uint32}.items():
        for kind in (np.int64, np.float64):
            labels = np.full((2, 2, 2), largest, kind)
            assert read_labels(save(tmp_path / "a.npy", labels)).array.dtype == dtype
    assert read_labels(save(tmp_path / "a.npy", np.ones((2, 2, 2), bool))).array.dtype == np.uint8


def test_images_must_be_finite(tmp_path: Path) -> None:
    image = np.zeros((2, 3, 4), np.float32)
    image[1, 0, 2] = np.nan
    with pytest.raises(BadFile, match=r"a: voxel \(1, 0, 2\) is nan; an image holds finite numbers"):
        read_image(save(tmp_path / "a.npy", image), name="a")


# DICOM


def test_segments_that_overlap_are_named(
    write_dicomseg: Callable[..., None], tmp_path: Path, sample: Any
) -> None:
    masks = np.zeros((4, 5, 6, 3), bool)
    masks[0, :2, :, 0] = masks[0, 1:3, :, 1] = masks[2, ..., 2] = True
    write_dicomseg(tmp_path / "a.dcm", sample, masks=masks)
    refused(tmp_path / "a.dcm", r"segments overlap: 1 and 2 \(6 voxels\)", by_header=False, error=BadLabels)


def test_a_real_overlapping_segmentation_is_refused(shared: Path) -> None:
    refused(shared / "dicomseg_overlapping.dcm", "1 and 2", by_header=False, error=BadLabels)


def test_fractional_segmentations_are_refused(
    write_dicomseg: Callable[..., None], tmp_path: Path, sample: Any
) -> None:
    write_dicomseg(tmp_path / "a.dcm", sample, kind="FRACTIONAL")
    refused(tmp_path / "a.dcm", "a fractional segmentation", by_header=True, error=BadLabels)


def test_other_dicom_is_told_for_what_it_is(written: dict[str, Path], tmp_path: Path) -> None:
    content = pydicom.dcmread(written["binary.dcm"])
    content.SOPClassUID = content.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    content.save_as(tmp_path / "ct.dcm")
    refused(tmp_path / "ct.dcm", r"a DICOM file \(CT Image Storage\)", by_header=True)
    content = pydicom.dcmread(written["binary.dcm"])
    content.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    content.save_as(tmp_path / "deflated.dcm")
    refused(tmp_path / "deflated.dcm", "compressed as Deflated", by_header=True)


def test_planes_far_apart_do_not_make_a_huge_volume(written: dict[str, Path], tmp_path: Path) -> None:
    content = pydicom.dcmread(written["binary.dcm"])
    content.PerFrameFunctionalGroupsSequence[-1].PlanePositionSequence[0].ImagePositionPatient = [0, 0, 1e12]
    content.save_as(tmp_path / "a.dcm")
    refused(tmp_path / "a.dcm", "not evenly spaced", by_header=True)


def test_true_is_1_whatever_byte_stands_for_it(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npy", np.array([[[0, 1, 2, 255]]], np.uint8).view(bool))
    for read in (read_labels, read_image):
        assert read(path).array.tolist() == [[[0, 1, 1, 1]]]
