"""Nothing that a file says of a patient comes out: not in an error, a log, the store or the queue."""

from __future__ import annotations

import logging
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from demo.service import Service
from dmapsvc.errors import DmapsvcError
from dmapsvc.telemetry.logs import hush_readers
from dmapsvc.volumes import read_image, read_labels

SECRET = "Zyxwvut"
TEXTS = ("descrip", "aux_file", "intent_name", "db_name")  # what NIfTI has room for
MUTATIONS = 60


@pytest.fixture(scope="session")
def patients(
    tmp_path_factory: pytest.TempPathFactory, sample: Any, write_dicomseg: Callable[..., None]
) -> dict[str, Path]:
    """A label map in each format that has room for words, every one of them the secret."""
    folder = tmp_path_factory.mktemp("patients")
    files = {name: folder / f"case.{name}" for name in ("nii", "nrrd", "mha", "dcm")}

    nifti = nib.Nifti1Image(sample.labels.T, sample.affine)
    for field in TEXTS:
        nifti.header[field] = SECRET
    nifti.header.extensions.append(nib.nifti1.Nifti1Extension("comment", f"PatientName={SECRET}".encode()))
    nib.save(nifti, files["nii"])

    image = sitk.GetImageFromArray(sample.labels)
    image.SetMetaData("PatientName", SECRET)
    image.SetMetaData("0010|0010", SECRET)
    for name in ("nrrd", "mha"):
        sitk.WriteImage(image, str(files[name]))

    write_dicomseg(files["dcm"], sample)
    _name_patient(files["dcm"])
    for path in files.values():
        assert SECRET.encode() in path.read_bytes(), path
    return files


def _name_patient(path: Path) -> None:
    """Write the secret wherever a DICOM file tells of a patient, also where it is no valid value."""
    dataset = pydicom.dcmread(path)
    with pydicom.config.disable_value_validation():
        for tag in ("PatientName", "PatientID", "PatientComments", "SeriesDescription", "ContentLabel"):
            setattr(dataset, tag, SECRET)
        for tag in ("PatientBirthDate", "PatientAge", "PatientWeight", "StudyTime", "AccessionNumber"):
            dataset.add(pydicom.DataElement(tag, "LO", SECRET))
        for segment in dataset.SegmentSequence:
            segment.SegmentLabel = segment.SegmentDescription = SECRET
        dataset.save_as(path)


def mutants(content: bytes, seed: int) -> list[bytes]:
    """Copies with a damaged header: cut off, with other bytes, without a piece, with a line twice."""
    dice = random.Random(seed)
    head = min(len(content), 3000)
    made = []
    for number in range(MUTATIONS):
        place = dice.randrange(head)
        length = dice.choice((1, 2, 8, 40))
        rubbish = bytes(dice.randrange(256) for _ in range(length))
        line = content[:head].splitlines(keepends=True)[0]
        made.append(
            (
                content[:place],
                content[:place] + rubbish + content[place + length :],
                content[:place] + content[place + length :],
                content[:place] + b"\n" + content[place:],
                line + content,
                content.replace(b": ", b" ", 1 + place % 8).replace(b" = ", b" ", place % 8),
            )[number % 6]
        )
    return made


@pytest.mark.parametrize("form", ["nii", "nrrd", "mha", "dcm"])
def test_no_error_or_log_tells_of_a_patient(
    patients: dict[str, Path], tmp_path: Path, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    content = patients[form].read_bytes()
    for library in ("pydicom", "nrrd", "nibabel"):
        caplog.set_level(logging.NOTSET, logger=library)  # and as it was at the end
    path = tmp_path / f"mutant.{form}"
    told, refused = [], 0
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        hush_readers()  # as the service's processes begin
        for mutant in [content, *mutants(content, seed=len(form))]:
            path.write_bytes(mutant)
            for read in (read_labels, read_image):
                try:
                    read(path, name="case")
                except DmapsvcError as error:
                    refused += 1
                    told.append(error.detail)
    assert refused >= MUTATIONS // 4
    told += [str(warning.message) for warning in warned]
    assert [line for line in [*told, *caplog.text.splitlines()] if SECRET in line] == []


def test_a_service_keeps_nothing_of_a_patient(patients: dict[str, Path], tmp_path: Path) -> None:
    labels = np.zeros((4, 5, 6), np.float32)
    labels[1, 2, 3] = 1.5  # which only the voxels show: the job fails
    fractional = nib.Nifti1Image(labels, np.eye(4))
    fractional.header["descrip"] = SECRET
    bodies = {form: path.read_bytes() for form, path in patients.items()}
    bodies["fractional"] = fractional.to_bytes()
    states = {}
    with (
        Service(tmp_path / "data", device="scipy") as service,
        httpx.Client(base_url=service.url, trust_env=False, timeout=60) as http,
    ):
        for case, body in bodies.items():
            answer = http.put(f"/v1/datasets/d/cases/{case}/mask", content=body)
            refused = http.put(f"/v1/datasets/d/cases/{case}x/mask", content=body[: len(body) // 3])
            job = http.get(answer.headers["location"], params={"wait": 60})
            states[case] = job.json()["state"]
            assert all(SECRET not in said.text for said in (answer, refused, job))
    assert states == {**dict.fromkeys(patients, "done"), "fractional": "failed"}
    kept = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert len(kept) > 20
    assert [path for path in kept if SECRET.encode() in path.read_bytes()] == []
