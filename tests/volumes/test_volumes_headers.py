"""Headers cost little to read, whatever they say of themselves, and are quoted briefly."""

from __future__ import annotations

import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest

from dmapsvc.errors import BadFile, TooLarge
from dmapsvc.volumes import dicomparse, read_header, read_labels
from tests.volumes.refusals import MB, refused


def test_the_header_of_a_packed_array_inflates_to_little(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.npy", b"\x93NUMPY\2\0" + struct.pack("<I", 64 * MB) + bytes(64 * MB))
    tracemalloc.start()
    try:
        refused(tmp_path / "a.npz", "its header has 67108864 bytes", by_header=True)
        assert tracemalloc.get_traced_memory()[1] < 8 * MB
    finally:
        tracemalloc.stop()


def test_brackets_within_brackets_are_a_bad_file(tmp_path: Path) -> None:
    text = b"{'descr': " + b"-" * 9000 + b"1}"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text)
    with pytest.raises(BadFile, match="cannot be read"):
        read_header(tmp_path / "a.npy")


def test_a_dicom_header_of_too_many_elements_is_refused(
    written: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicomparse, "_MOST_WORK", MB)  # else it takes seconds
    read_header(written["binary.dcm"])
    content = written["binary.dcm"].read_bytes()
    meta = content.index(b"\x08\0\x05\0") if b"\x08\0\x05\0" in content else content.index(b"\x08\0\x16\0")
    empty = struct.pack("<HH2sH", 8, 1, b"UL", 0)
    (tmp_path / "a.dcm").write_bytes(content[:meta] + empty * 50_000 + content[meta:])
    with pytest.raises(TooLarge, match="DICOM header goes on"):
        read_header(tmp_path / "a.dcm")


def test_nothing_behind_the_pixels_of_a_dicom_file_is_parsed(
    written: dict[str, Path], sample: Any, tmp_path: Path
) -> None:
    endless = struct.pack("<HH2sHI", 0x7FE1, 1, b"SQ", 0, 0xFFFFFFFF)
    (tmp_path / "a.dcm").write_bytes(written["binary.dcm"].read_bytes() + endless * 100)
    assert read_labels(tmp_path / "a.dcm").array.shape == sample.labels.shape


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("DimSize = 1 1 1\nElementType = MET_\x1b[2J\x85" + "x" * 3000, "its voxels are MET_"),
        ("DimSize = 1 1 1\nElementSpacing = 1 1 1\nDistanceUnits = " + "z" * 3000, "its lengths are in 'zzz"),
        ("DimSize =" + " 1" * 9000, "3 axes with sizes 1, 1, 1, 1, 1 "),
        ("DimSize = 1 1 " + "9" * 4000, "promises more voxels than"),
    ],
)
def test_what_a_header_says_is_quoted_briefly(fields: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.mha").write_bytes(
        f"NDims = 3\nElementType = MET_UCHAR\n{fields}\nElementDataFile = LOCAL\n\0".encode("latin-1")
    )
    with pytest.raises(BadFile, match=words) as caught:
        read_header(tmp_path / "a.mha")
    assert caught.value.detail.isprintable()
    assert len(caught.value.detail) < 300
