"""A label map that is written is read again as it was, by nibabel too, and is there whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from dmapsvc.volumes import read_labels
from dmapsvc.volumes.writing import write_labels

_AFFINE = np.array([[-0.5, 0, 0, 11], [0, 0, -2.0, 7], [0, 0.5, 0, -3], [0, 0, 0, 1]])


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32])
def test_labels_and_grid_are_read_again(tmp_path: Path, kind: type[np.unsignedinteger[Any]]) -> None:
    labels = np.arange(24, dtype=kind).reshape(2, 3, 4) + np.iinfo(kind).max - 23
    path = tmp_path / "a.nii.gz"
    write_labels(path, labels, spacing=(2.0, 0.5, 0.5), affine=_AFFINE)
    volume = read_labels(path)
    assert volume.array.dtype == kind
    assert np.array_equal(volume.array, labels)
    assert volume.header.spacing == pytest.approx((2.0, 0.5, 0.5))
    picture: Any = nib.load(path)
    assert np.array_equal(picture.affine, _AFFINE)
    assert np.array_equal(np.asarray(picture.dataobj), labels.transpose(2, 1, 0))
    before = path.read_bytes()
    write_labels(path, labels, spacing=(2.0, 0.5, 0.5), affine=_AFFINE)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_without_an_affine_the_spacing_counts_and_without_that_one_mm(tmp_path: Path) -> None:
    labels = np.ones((2, 3, 4), np.uint8)
    write_labels(tmp_path / "a.nii.gz", labels, spacing=(3.0, 2.0, 1.0))
    write_labels(tmp_path / "b.nii.gz", labels)
    assert read_labels(tmp_path / "a.nii.gz").header.spacing == (3.0, 2.0, 1.0)
    assert read_labels(tmp_path / "b.nii.gz").header.spacing == (1.0, 1.0, 1.0)


def test_an_axis_that_nifti_1_cannot_say_is_kept(tmp_path: Path) -> None:
    labels = np.zeros((1, 1, 40_000), np.uint8)
    labels[0, 0, -1] = 3
    write_labels(tmp_path / "a.nii.gz", labels)
    assert np.array_equal(read_labels(tmp_path / "a.nii.gz").array, labels)


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(b"before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nib.Nifti1Image, "to_stream", full)
    with pytest.raises(OSError, match="No space"):
        write_labels(path, np.ones((2, 2, 2), np.uint8))
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a.nii.gz", b"before")]
