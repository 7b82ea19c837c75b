"""One small label map in an oblique frame, written in every format by the library that others would use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import highdicom as hd
import nibabel as nib
import nrrd
import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.sr.codedict import codes

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


class Sample(NamedTuple):
    """(z, y, x) labels, spacing (z, y, x) in mm, and the affine from (i, j, k, 1) to RAS+ mm."""

    labels: NDArray[np.uint8]
    spacing: tuple[float, float, float]
    affine: NDArray[np.float64]


def make_sample() -> Sample:
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[0:2, 1:4, 0:3] = 1
    labels[1:4, 0:2, 4:6] = 3
    labels[3, 4, 5] = 7
    labels[0, 0, 0] = 7
    spacing = (2.5, 0.8, 0.5)
    turn, tilt = 0.4, -0.3
    rotation = np.array(
        [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    ) @ np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing[::-1]
    affine[:3, 3] = (-31.5, 12.25, 80.125)
    return Sample(labels, spacing, affine)


def as_sitk(sample: Sample) -> Any:
    lps = LPS @ sample.affine
    image = sitk.GetImageFromArray(sample.labels)
    image.SetSpacing(sample.spacing[::-1])
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / sample.spacing[::-1]).flatten().tolist())
    return image


def write_nifti(path: Path, sample: Sample, *, kind: Any = nib.Nifti1Image, dtype: Any = np.uint8) -> None:
    nib.save(kind(sample.labels.T.astype(dtype), sample.affine), path)


def write_big_endian_nifti(path: Path, sample: Sample) -> None:
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    nib.save(nib.Nifti1Image(sample.labels.T.astype(">i2"), sample.affine, header=header), path)


def write_nrrd(path: Path, sample: Sample, *, space: str = "LPS", **fields: Any) -> None:
    frame = {"LPS": LPS, "RAS": np.eye(4), "LAS": np.diag([-1.0, 1, 1, 1])}[space] @ sample.affine
    header = {
        "space": {"LPS": "left-posterior-superior", "RAS": "right-anterior-superior"}.get(space, space),
        "space directions": frame[:3, :3].T,
        "space origin": frame[:3, 3],
        **fields,
    }
    nrrd.write(str(path), sample.labels.T.astype(fields.get("type", "uint8")), header)


def write_mgh(path: Path, sample: Sample) -> None:
    nib.save(nib.MGHImage(sample.labels.T.astype(np.int32), sample.affine), path)


def write_big_endian_mha(path: Path, sample: Sample) -> None:
    sitk.WriteImage(sitk.Cast(as_sitk(sample), sitk.sitkInt16), str(path))
    head, _, _ = path.read_bytes().partition(b"ElementDataFile = LOCAL\n")
    head = head.replace(b"BinaryDataByteOrderMSB = False", b"BinaryDataByteOrderMSB = True")
    path.write_bytes(head + b"ElementDataFile = LOCAL\n" + sample.labels.astype(">i2").tobytes())


def slices_of(sample: Sample) -> list[pydicom.Dataset]:
    """The CT series that a segmentation refers to, with a patient whose name must not come out."""
    lps = LPS @ sample.affine
    depth, rows, columns = sample.labels.shape
    study, series, frame = (pydicom.uid.generate_uid(entropy_srcs=[word]) for word in ("a", "b", "c"))
    slices = []
    for k in range(depth):
        one = pydicom.Dataset()
        one.file_meta = pydicom.dataset.FileMetaDataset()
        one.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        one.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        one.SOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=[str(k)])
        one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = study, series, frame
        one.PatientName, one.PatientID, one.PatientBirthDate, one.PatientSex = "Secret^Person", "S1", "", ""
        one.StudyDate = one.StudyTime = one.StudyID = one.AccessionNumber = one.ReferringPhysicianName = ""
        one.Modality, one.Manufacturer, one.InstanceNumber = "CT", "none", k + 1
        one.Rows, one.Columns, one.PixelSpacing = rows, columns, [0.8, 0.5]
        one.SliceThickness = one.SpacingBetweenSlices = 2.5
        one.ImageOrientationPatient = [
            f"{number:.12f}"
            for number in [*(lps[:3, 0] / sample.spacing[2]), *(lps[:3, 1] / sample.spacing[1])]
        ]
        one.ImagePositionPatient = [f"{number:.9f}" for number in (lps @ [0, 0, k, 1])[:3]]
        slices.append(one)
    return slices


def write_segmentation(path: Path, sample: Sample, *, kind: str = "BINARY", masks: Any = None) -> None:
    numbers = sorted(set(sample.labels.flatten().tolist()) - {0})
    pixels = np.stack([sample.labels == number for number in numbers], axis=-1) if masks is None else masks
    segments = [
        hd.seg.SegmentDescription(
            segment_number=index + 1,
            segment_label=f"bone {index + 1}",
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Bone,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for index in range(pixels.shape[-1])
    ]
    segmentation = hd.seg.Segmentation(
        source_images=slices_of(sample),
        pixel_array=pixels.astype(np.float32 if kind == "FRACTIONAL" else np.uint8),
        segmentation_type=kind,
        segment_descriptions=segments,
        series_instance_uid=pydicom.uid.generate_uid(entropy_srcs=["s"]),
        series_number=2,
        sop_instance_uid=pydicom.uid.generate_uid(entropy_srcs=["i"]),
        instance_number=1,
        manufacturer="none",
        manufacturer_model_name="none",
        software_versions="1",
        device_serial_number="1",
    )
    segmentation.save_as(path)


WRITERS: dict[str, Callable[[Path, Sample], None]] = {
    "plain.nii": write_nifti,
    "gzipped.nii.gz": write_nifti,
    "two.nii": lambda path, sample: write_nifti(path, sample, kind=nib.Nifti2Image),
    "floats.nii.gz": lambda path, sample: write_nifti(path, sample, dtype=np.float64),
    "big.nii": write_big_endian_nifti,
    "plain.mgh": write_mgh,
    "gzipped.mgz": write_mgh,
    "lps.nrrd": write_nrrd,
    "ras.nrrd": lambda path, sample: write_nrrd(path, sample, space="RAS", encoding="raw"),
    "las.nrrd": lambda path, sample: write_nrrd(path, sample, space="LAS"),
    "bzip2.nrrd": lambda path, sample: write_nrrd(path, sample, encoding="bzip2"),
    "big.nrrd": lambda path, sample: write_nrrd(path, sample, type="int32", endian="big"),
    "plain.mha": lambda path, sample: sitk.WriteImage(as_sitk(sample), str(path)),
    "packed.mha": lambda path, sample: sitk.WriteImage(as_sitk(sample), str(path), True),
    "big.mha": write_big_endian_mha,
    "plain.npy": lambda path, sample: np.save(path, sample.labels),
    "fortran.npy": lambda path, sample: np.save(path, np.asfortranarray(sample.labels.astype(np.int16))),
    "big.npy": lambda path, sample: np.save(path, sample.labels.astype(">f4")),
    "plain.npz": lambda path, sample: np.savez(path, sample.labels),
    "packed.npz": lambda path, sample: np.savez_compressed(path, other=np.arange(3), labels=sample.labels),
    "binary.dcm": write_segmentation,
    "labelmap.dcm": lambda path, sample: write_segmentation(path, sample, kind="LABELMAP"),
}


def write_all(folder: Path, sample: Sample) -> dict[str, Path]:
    """The sample in every format, by file name."""
    for name, write in WRITERS.items():
        write(folder / name, sample)
    return {name: folder / name for name in WRITERS}
