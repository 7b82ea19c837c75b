"""Grids are compared, and sheared ones told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from dmapsvc.errors import BadSpec, GridMismatch
from dmapsvc.volumes import Header, check_same_grid, check_unsheared, read_header


def header_of(sample: Any, **changes: Any) -> Header:
    header = Header(
        format="test",
        shape=sample.labels.shape,
        dtype=np.dtype(np.uint8),
        spacing=sample.spacing,
        affine=sample.affine,
    )
    return replace(header, **changes)


def test_one_grid_in_many_formats_is_one_grid(written: dict[str, Path]) -> None:
    names = ("plain.nii", "gzipped.mgz", "las.nrrd", "plain.mha", "binary.dcm", "plain.npy")
    for one in names:
        for other in names:
            check_same_grid(read_header(written[one]), read_header(written[other]))


def test_rounding_of_writers_is_tolerated(sample: Any) -> None:
    check_same_grid(header_of(sample), header_of(sample, affine=sample.affine + 1e-5))


def test_another_shape_is_another_grid(sample: Any) -> None:
    with pytest.raises(GridMismatch, match=r"ct is 5 x 4 x 6 and mask is 4 x 5 x 6 voxels"):
        check_same_grid(header_of(sample), header_of(sample, shape=(5, 4, 6)), image_name="ct")


def test_another_place_or_orientation_is_another_grid(sample: Any) -> None:
    moved = sample.affine.copy()
    moved[0, 3] += 0.1
    flipped = sample.affine @ np.diag([1.0, 1.0, -1.0, 1.0])
    for affine in (moved, flipped):
        with pytest.raises(GridMismatch, match="frame of image"):
            check_same_grid(header_of(sample), header_of(sample, affine=affine))


def test_another_spacing_is_another_grid_without_affines_too(sample: Any) -> None:
    with pytest.raises(GridMismatch, match=r"0\.5 mm"):
        check_same_grid(
            header_of(sample, affine=None), header_of(sample, affine=None, spacing=(2.5, 0.8, 0.6))
        )
    check_same_grid(header_of(sample), header_of(sample, affine=None, spacing=None))


def test_sheared_axes_are_refused_in_mm(tmp_path: Path, sample: Any) -> None:
    check_unsheared(header_of(sample))
    check_unsheared(header_of(sample, affine=None))
    sheared = sample.affine.copy()
    sheared[:3, 0] += 0.01 * sheared[:3, 1]
    nib.save(nib.Nifti1Image(sample.labels.T, sheared), tmp_path / "a.nii")
    header = read_header(tmp_path / "a.nii")  # fine in voxels
    with pytest.raises(BadSpec, match=r"a\.nii: its axes are sheared by 0\.016"):
        check_unsheared(header, name="a.nii")


def test_oblique_frames_of_real_knees_are_not_sheared(shared: Path) -> None:
    for path in sorted(shared.glob("knee*")):
        check_unsheared(read_header(path), name=path.name)


def test_an_image_of_its_own_format_lies_on_the_mask(written: dict[str, Path], tmp_path: Path) -> None:
    image = sitk.Cast(sitk.ReadImage(str(written["lps.nrrd"])), sitk.sitkInt16)
    sitk.WriteImage(image, str(tmp_path / "image.nii.gz"))
    check_same_grid(read_header(written["lps.nrrd"]), read_header(tmp_path / "image.nii.gz", kind="image"))
