"""The same label map comes out of every format, in one frame whatever the format's convention."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import highdicom as hd
import nibabel as nib
import nrrd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from dmapsvc.volumes import read_header, read_image, read_labels

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
FRAMED = (
    "plain.nii", "gzipped.nii.gz", "two.nii", "floats.nii.gz", "big.nii", "plain.mgh", "gzipped.mgz",
    "lps.nrrd", "ras.nrrd", "las.nrrd", "bzip2.nrrd", "big.nrrd", "plain.mha", "packed.mha", "big.mha",
    "binary.dcm", "labelmap.dcm",
)  # fmt: skip
ITK_READS = (
    "plain.nii", "gzipped.nii.gz", "floats.nii.gz", "big.nii", "lps.nrrd", "ras.nrrd", "las.nrrd", "big.nrrd",
    "plain.mha", "packed.mha", "big.mha",
)  # fmt: skip
FRAMELESS = ("plain.npy", "fortran.npy", "big.npy", "plain.npz", "packed.npz")


def expected_labels(name: str, sample: Any) -> Any:
    # DICOM segments count 1, 2, 3
    return np.searchsorted([0, 1, 3, 7], sample.labels) if name.endswith(".dcm") else sample.labels


@pytest.mark.parametrize("name", FRAMED + FRAMELESS)
def test_every_format_gives_the_same_label_map(name: str, written: dict[str, Path], sample: Any) -> None:
    volume = read_labels(written[name])
    np.testing.assert_array_equal(volume.array, expected_labels(name, sample))
    assert volume.array.dtype == np.uint8
    assert volume.array.flags.c_contiguous
    assert volume.header.shape == (4, 5, 6)
    assert volume.header.voxels == 120
    assert volume.header.dtype.isnative


@pytest.mark.parametrize("name", FRAMED)
def test_every_frame_comes_out_as_ras(name: str, written: dict[str, Path], sample: Any) -> None:
    header = read_header(written[name])
    assert header.affine is not None
    np.testing.assert_allclose(header.affine, sample.affine, atol=2e-5)
    assert header.spacing == pytest.approx(sample.spacing, abs=1e-5)


@pytest.mark.parametrize("name", FRAMELESS)
def test_numpy_has_no_frame_and_takes_a_spacing(name: str, written: dict[str, Path]) -> None:
    assert read_header(written[name]).spacing is None
    header = read_labels(written[name], spacing=(3, 2, 1)).header
    assert header.spacing == (3.0, 2.0, 1.0)
    assert header.affine is None


@pytest.mark.parametrize("name", ITK_READS)
def test_simpleitk_agrees(name: str, written: dict[str, Path]) -> None:
    image = sitk.ReadImage(str(written[name]))
    volume = read_labels(written[name])
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(image))
    assert volume.header.affine is not None
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    np.testing.assert_allclose(volume.header.affine, LPS @ affine, atol=2e-5)


def test_highdicom_agrees(written: dict[str, Path]) -> None:
    for name in ("binary.dcm", "labelmap.dcm"):
        reference = (
            hd.seg.segread(written[name]).get_volume(combine_segments=True).to_patient_orientation("LPS")
        )
        volume = read_labels(written[name])
        assert volume.header.affine is not None
        ours = hd.Volume(
            array=volume.array.transpose(2, 1, 0),
            affine=LPS @ volume.header.affine,
            coordinate_system="PATIENT",
        ).to_patient_orientation("LPS")
        np.testing.assert_array_equal(ours.array, reference.array)
        np.testing.assert_allclose(ours.affine, reference.affine, atol=1e-5)


@pytest.mark.parametrize("name", FRAMED + FRAMELESS)
def test_content_tells_the_format_not_the_name(name: str, written: dict[str, Path], tmp_path: Path) -> None:
    spooled = tmp_path / "6f1c0d"
    spooled.symlink_to(written[name])
    assert read_header(spooled).format == read_header(written[name]).format


@pytest.mark.parametrize("name", FRAMED + FRAMELESS)
def test_a_header_is_read_without_a_voxel(
    name: str, written: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("voxels were read")

    monkeypatch.setattr("dmapsvc.volumes.source.read_promised", refuse)
    monkeypatch.setattr("dmapsvc.volumes.numpy.read_promised", refuse)
    monkeypatch.setattr("dmapsvc.volumes.dicomseg.iter_pixels", refuse)
    assert read_header(written[name]).voxels == 120


def test_no_patient_comes_out(written: dict[str, Path]) -> None:
    assert b"Secret^Person" in written["binary.dcm"].read_bytes()
    assert "Secret" not in repr(read_labels(written["binary.dcm"]))


def test_frames_of_a_segmentation_may_leave_planes_out(written: dict[str, Path], sample: Any) -> None:
    from_file = pydicom.dcmread(written["binary.dcm"])
    places = [
        item.PlanePositionSequence[0].ImagePositionPatient
        for item in from_file.PerFrameFunctionalGroupsSequence
    ]
    assert len(places) < 4 * 3  # highdicom leaves out empty frames: the planes come from positions
    np.testing.assert_array_equal(
        read_labels(written["binary.dcm"]).array, np.searchsorted([0, 1, 3, 7], sample.labels)
    )


def test_units_of_nifti_are_brought_to_mm(tmp_path: Path) -> None:
    for unit, factor in {"meter": 1000.0, "mm": 1.0, "micron": 1e-3}.items():
        image = nib.Nifti1Image(np.ones((2, 3, 4), np.uint8), np.diag([0.5, 0.5, 2, 1]))
        image.header.set_xyzt_units(unit)
        nib.save(image, tmp_path / "a.nii")
        assert read_header(tmp_path / "a.nii").spacing == pytest.approx(
            (2 * factor, 0.5 * factor, 0.5 * factor)
        )


def test_nrrd_with_spacings_alone_lies_as_itk_reads_it(tmp_path: Path) -> None:
    nrrd.write(str(tmp_path / "a.nrrd"), np.ones((3, 4, 5), np.uint8), {"spacings": [0.5, 0.6, 2.0]})
    header = read_header(tmp_path / "a.nrrd")
    assert header.spacing == pytest.approx(sitk.ReadImage(str(tmp_path / "a.nrrd")).GetSpacing()[::-1])
    assert header.affine is not None
    np.testing.assert_allclose(header.affine, np.diag([-0.5, -0.6, 2.0, 1.0]))


def test_nrrd_without_any_spacing_has_none(tmp_path: Path) -> None:
    nrrd.write(str(tmp_path / "a.nrrd"), np.ones((3, 4, 5), np.uint8), {})
    header = read_header(tmp_path / "a.nrrd", spacing=(1, 2, 3))
    assert (header.affine, header.spacing) == (None, (1.0, 2.0, 3.0))
    assert read_header(tmp_path / "a.nrrd").spacing is None


def test_a_slice_is_a_volume_of_one_plane(tmp_path: Path) -> None:
    mask = np.array([[0, 1, 1], [2, 2, 0]], np.uint8)
    np.save(tmp_path / "a.npy", mask)
    nib.save(nib.Nifti1Image(mask.T, np.diag([0.5, 0.7, 1, 1])), tmp_path / "a.nii")
    flat = sitk.GetImageFromArray(mask)
    flat.SetSpacing((0.5, 0.7))
    sitk.WriteImage(flat, str(tmp_path / "a.mha"))
    sitk.WriteImage(flat, str(tmp_path / "a.nrrd"))
    for name in ("a.npy", "a.nii", "a.mha", "a.nrrd"):
        volume = read_labels(tmp_path / name)
        np.testing.assert_array_equal(volume.array, mask[np.newaxis])
        if name != "a.npy":
            assert volume.header.spacing == pytest.approx((1.0, 0.7, 0.5))


def test_trailing_axes_of_size_one_are_accepted(tmp_path: Path, sample: Any) -> None:
    nib.save(nib.Nifti1Image(sample.labels.T[..., np.newaxis], sample.affine), tmp_path / "a.nii")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.nii").array, sample.labels)
    np.save(tmp_path / "a.npy", sample.labels[np.newaxis])
    np.testing.assert_array_equal(read_labels(tmp_path / "a.npy").array, sample.labels)


def test_channels_of_images_come_first(tmp_path: Path, sample: Any) -> None:
    channels = np.random.default_rng(1).integers(0, 200, (3, 4, 5, 6)).astype(np.uint8)
    nib.save(nib.Nifti1Image(channels.transpose(3, 2, 1, 0), sample.affine), tmp_path / "a.nii.gz")
    nib.save(nib.MGHImage(channels.transpose(3, 2, 1, 0), sample.affine), tmp_path / "a.mgz")
    colour = np.zeros((6, 5, 4), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    for index, key in enumerate("RGB"):
        colour[key] = channels[index].T
    nib.save(nib.Nifti1Image(colour, sample.affine), tmp_path / "rgb.nii")
    nrrd.write(
        str(tmp_path / "a.nrrd"),
        channels.transpose(0, 3, 2, 1),
        {
            "space": "left-posterior-superior",
            "kinds": ["RGB-color", "domain", "domain", "domain"],
            "space directions": np.vstack([np.full(3, np.nan), (LPS @ sample.affine)[:3, :3].T]),
            "space origin": (LPS @ sample.affine)[:3, 3],
        },
    )
    sitk.WriteImage(
        sitk.GetImageFromArray(np.moveaxis(channels, 0, -1), isVector=True), str(tmp_path / "a.mha")
    )
    np.save(tmp_path / "a.npy", channels)
    for name in ("a.nii.gz", "a.mgz", "rgb.nii", "a.nrrd", "a.mha", "a.npy"):
        volume = read_image(tmp_path / name)
        np.testing.assert_array_equal(volume.array, channels, err_msg=name)
        assert (volume.header.channels, volume.header.shape) == (3, (4, 5, 6))
        assert volume.array.flags.c_contiguous


def test_a_scaled_image_is_its_values(tmp_path: Path) -> None:
    image: Any = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    image.header.set_slope_inter(0.5, -3)
    nib.save(image, tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[112:120] = np.array([0.5, -3], "<f4").tobytes()  # nibabel rescales when it saves
    (tmp_path / "a.nii").write_bytes(raw)
    loaded: Any = nib.load(tmp_path / "a.nii")
    reference = np.asarray(loaded.dataobj).T
    volume = read_image(tmp_path / "a.nii")
    np.testing.assert_allclose(volume.array, reference, rtol=1e-6)
    assert volume.array.dtype == np.float32


def test_real_volumes_hold_what_their_manifest_says(shared: Path) -> None:
    for entry in json.loads((shared / "MANIFEST.json").read_text()):
        path = shared / entry["file"]
        if path.suffix == ".dcm":
            continue
        read = read_image if "image" in entry["file"] else read_labels
        volume = read(path)
        assert volume.array.shape[::-1] == tuple(entry["shape_xyz"])
        assert volume.header.spacing == pytest.approx(entry["spacing_xyz"][::-1], abs=1e-3)
        if isinstance(entry["labels"], dict):
            counts = np.bincount(volume.array.reshape(-1))
            found = {str(value): int(counts[value]) for value in np.flatnonzero(counts)}
            assert found == entry["labels"]


def test_a_real_segmentation_is_read(shared: Path) -> None:
    volume = read_labels(shared / "dicomseg_liver.dcm")
    reference = hd.seg.segread(shared / "dicomseg_liver.dcm").get_volume(combine_segments=True)
    np.testing.assert_array_equal(volume.array[::-1], reference.array)  # highdicom runs down the normal
    assert volume.header.spacing == pytest.approx((1, 0.810547, 0.810547))


def test_bounds_of_a_spacing_are_in_mm_whatever_the_unit(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.ones((4, 3, 2), np.uint8), np.diag([5e-7, 5e-7, 5e-7, 1]))
    image.header.set_xyzt_units("meter")
    nib.save(image, tmp_path / "a.nii")
    assert read_header(tmp_path / "a.nii").spacing == pytest.approx((5e-4,) * 3)


def test_an_archive_of_a_mask_and_its_image_gives_what_is_asked_for(tmp_path: Path) -> None:
    labels, image = np.full((2, 3, 4), 5, np.uint8), np.full((2, 3, 4), 0.5, np.float32)
    np.savez(tmp_path / "a.npz", labels=labels, image=image)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.npz").array, labels)
    np.testing.assert_array_equal(read_image(tmp_path / "a.npz").array, image)
    assert read_header(tmp_path / "a.npz", kind="image").dtype == np.float32


def test_an_array_alone_may_have_any_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", femur=np.ones((2, 3, 4), np.uint8))
    assert read_labels(tmp_path / "a.npz").array.all()
    assert read_image(tmp_path / "a.npz").array.all()
