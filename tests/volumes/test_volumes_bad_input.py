"""Every bad file is refused by name, with what was wanted; by its header wherever the header shows it."""

from __future__ import annotations

import errno
import gzip
import os
import pickle
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk

from dmapsvc.errors import BadFile, BadLabels, BadSpec, TooLarge
from dmapsvc.volumes import read_header, read_labels
from tests.volumes.refusals import patched, refused, save, with_field

MB = 1 << 20

# files that are no volumes


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"label,voxels\n1,20\n" * 40, "looks like text"),
        (b"<!doctype html><html>" * 40, "looks like HTML"),
        (b"", "looks like an empty file"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 400, "a PNG picture"),
        (gzip.compress(b"not a volume at all\n" * 40, mtime=0), "gzipped, and inside looks like text"),
        (pickle.dumps([1, 2]), "a Python pickle"),
        (bytes(range(256)) * 3, "no format known here"),
        (b"\x5c\x01\0\0" + b"\0" * 344, "an Analyze 7.5 header"),
        (b"\x1f\x8b\x08 this is no gzip", "cannot be read"),
    ],
)
def test_a_file_of_another_kind_is_told_for_what_it_is(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "mask.nii.gz").write_bytes(content)
    refused(tmp_path / "mask.nii.gz", words, by_header=True)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "none.nii", "no such file", by_header=True)
    refused(tmp_path, "is a directory", by_header=True)


def test_a_format_gzipped_as_a_whole_is_refused(written: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "a.nrrd.gz").write_bytes(gzip.compress(written["lps.nrrd"].read_bytes()))
    refused(tmp_path / "a.nrrd.gz", "gunzip", by_header=True)


# headers


def test_headers_that_point_at_another_file_are_refused(written: dict[str, Path], tmp_path: Path) -> None:
    secret = tmp_path / "secret.raw"
    secret.write_bytes(b"\1" * 120)
    for field in ("data file", "datafile"):
        (tmp_path / "a.nhdr").write_text(
            f"NRRD0005\ntype: uint8\ndimension: 3\nsizes: 6 5 4\nencoding: raw\n{field}: {secret}\n"
        )
        refused(tmp_path / "a.nhdr", "points at another file", by_header=True)
    for target in (str(secret), "secret.raw", "LIST", "slice%03d.raw 1 4 1"):
        patched(
            written["plain.mha"],
            tmp_path / "a.mhd",
            b"ElementDataFile = LOCAL",
            f"ElementDataFile = {target}".encode(),
        )
        refused(tmp_path / "a.mhd", "points at another file", by_header=True)
    nib.save(nib.Nifti1Pair(np.ones((2, 3, 4), np.uint8), np.eye(4)), tmp_path / "pair.hdr")
    refused(tmp_path / "pair.hdr", "in another file", by_header=True)


def test_4d_and_colour_are_no_label_maps(tmp_path: Path) -> None:
    voxels = np.ones((3, 4, 5, 2), np.uint8)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "a.nii.gz")
    nib.save(nib.MGHImage(voxels, np.eye(4)), tmp_path / "a.mgz")
    sitk.WriteImage(sitk.GetImageFromArray(voxels, isVector=True), str(tmp_path / "a.mha"))
    sitk.WriteImage(sitk.GetImageFromArray(voxels, isVector=True), str(tmp_path / "a.nrrd"))
    np.save(tmp_path / "a.npy", voxels)
    colour = np.zeros((3, 4, 5), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    nib.save(nib.Nifti1Image(colour, np.eye(4)), tmp_path / "rgb.nii")
    for name in ("a.nii.gz", "a.mgz", "a.mha", "a.nrrd", "a.npy", "rgb.nii"):
        refused(tmp_path / name, "values a voxel", by_header=True, error=BadLabels)


def test_nrrd_of_four_unnamed_axes_is_refused(tmp_path: Path) -> None:
    nrrd.write(str(tmp_path / "a.nrrd"), np.ones((3, 4, 5, 2), np.uint8), {})
    refused(tmp_path / "a.nrrd", "4 axes", by_header=True)


def test_a_zero_sized_axis_is_refused(written: dict[str, Path], tmp_path: Path) -> None:
    refused(save(tmp_path / "a.npy", np.zeros((3, 0, 4), np.uint8)), "size 0", by_header=True)
    refused(with_field(written["plain.nii"], tmp_path / "a.nii", 42, "<i2", 0), "size 0", by_header=True)
    refused(with_field(written["plain.nii"], tmp_path / "a.nii", 42, "<i2", -6), "sizes", by_header=True)
    refused(
        patched(written["lps.nrrd"], tmp_path / "a.nrrd", b"sizes: 6 5 4", b"sizes: 6 0 4"),
        "size 0",
        by_header=True,
    )
    refused(
        patched(written["plain.mha"], tmp_path / "a.mha", b"DimSize = 6 5", b"DimSize = 0 5"),
        "size 0",
        by_header=True,
    )
    refused(save(tmp_path / "b.npy", np.ones(5, np.uint8)), "1 axes", by_header=True)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf, 1e-7, 1e7, 1e30])
def test_a_spacing_that_is_none_is_refused(value: float, written: dict[str, Path], tmp_path: Path) -> None:
    text = str(value).encode()
    nrrd.write(str(tmp_path / "s.nrrd"), np.ones((3, 4, 5), np.uint8), {"spacings": [0.5, 0.6, 2.0]})
    for path in (
        with_field(written["plain.nii"], tmp_path / "a.nii", 80, "<f4", value),
        with_field(written["plain.mgh"], tmp_path / "a.mgh", 30, ">f4", value),
        patched(
            written["plain.mha"], tmp_path / "a.mha", b"ElementSpacing = 0.5", b"ElementSpacing = " + text
        ),
        patched(tmp_path / "s.nrrd", tmp_path / "a.nrrd", b"spacings: 0.5", b"spacings: " + text),
    ):
        refused(path, "spacing", by_header=True)
    path = save(tmp_path / "a.npy", np.ones((2, 3, 4), np.uint8))
    for read in (read_header, read_labels):
        with pytest.raises(BadSpec, match="positive lengths"):
            read(path, spacing=(1.0, value, 1.0))


def test_a_frame_that_spans_no_volume_is_refused(written: dict[str, Path], tmp_path: Path) -> None:
    row = np.array([0.5, 0, 0, 0], "<f4")
    refused(
        with_field(written["plain.nii"], tmp_path / "a.nii", 280, "<f4", *row, *row, *row),
        "spacing",
        by_header=True,
    )
    flat = [0.5, 0.5, 0, 0, 0.5, 0.5, 0, 0, 0, 0, 2.0, 0]
    refused(
        with_field(written["plain.nii"], tmp_path / "a.nii", 280, "<f4", *flat), "do not span", by_header=True
    )
    refused(
        with_field(written["plain.nii"], tmp_path / "a.nii", 292, "<f4", np.nan),
        "affine has NaN",
        by_header=True,
    )


def test_a_given_spacing_must_not_contradict_the_file(written: dict[str, Path], sample: Any) -> None:
    assert read_header(written["plain.nii"], spacing=sample.spacing).spacing is not None
    with pytest.raises(BadSpec, match="files that have none"):
        read_header(written["plain.nii"], spacing=(1, 1, 1))


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    trap = tmp_path / "trap"

    class Trap:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return os.mkdir, (str(trap),)

    objects = np.array([Trap()], object)
    refused(save(tmp_path / "a.npy", objects), "pickle", by_header=True)
    np.savez(tmp_path / "a.npz", labels=objects)
    refused(tmp_path / "a.npz", "pickle", by_header=True)
    assert not trap.exists()


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    for dtype in (np.complex64, "S3", np.dtype([("a", "u1"), ("b", "u1")]), "M8[s]"):
        refused(save(tmp_path / "a.npy", np.zeros((2, 3, 4), dtype)), "voxels are", by_header=True)
    nib.save(nib.Nifti1Image(np.zeros((2, 3, 4), np.complex64), np.eye(4)), tmp_path / "a.nii")
    refused(tmp_path / "a.nii", "voxels are complex64", by_header=True)


def test_an_archive_of_several_arrays_must_name_one(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", left=np.ones((2, 3, 4), int), right=np.ones((2, 3, 4), int))
    refused(tmp_path / "a.npz", "holds left, right", by_header=True)


# bodies


@pytest.mark.parametrize(
    "name", ["plain.nii", "two.nii", "plain.mgh", "ras.nrrd", "plain.mha", "plain.npy", "binary.dcm"]
)
def test_plain_voxels_that_are_cut_off_show_in_the_header(
    name: str, written: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(written[name].read_bytes()[:-40])
    refused(tmp_path / "a", "ends after|cannot be read", by_header=True)


@pytest.mark.parametrize("name", ["gzipped.nii.gz", "gzipped.mgz", "lps.nrrd", "bzip2.nrrd", "packed.mha"])
def test_compressed_voxels_that_are_cut_off_end_the_read(
    name: str, written: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(written[name].read_bytes()[:-12])
    refused(tmp_path / "a", r"ends after \d+ of \d+ bytes|breaks off", by_header=False)


@pytest.mark.parametrize("name", ["gzipped.nii.gz", "lps.nrrd", "packed.mha"])
def test_a_damaged_checksum_is_seen(name: str, written: dict[str, Path], tmp_path: Path) -> None:
    content = bytearray(written[name].read_bytes())
    content[-4 if name == "packed.mha" else -8] ^= 0xFF  # zlib ends with its sum, gzip with sum and size
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(BadFile, match="cannot be read"):
        read_labels(tmp_path / "a")


def test_a_header_that_promises_more_voxels_than_follow(written: dict[str, Path], tmp_path: Path) -> None:
    huge = np.array([3, 30_000, 30_000, 30_000], "<i2")
    with_field(written["plain.nii"], tmp_path / "a.nii", 40, "<i2", *huge)
    refused(tmp_path / "a.nii", r"ends after \d+ of 27000000000000 bytes", by_header=True)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes()))
    refused(tmp_path / "a.nii.gz", "promises 27000000000000 bytes", by_header=True)
    for name, encoding in (("lps.nrrd", "promises"), ("ras.nrrd", "ends after")):
        patched(written[name], tmp_path / "a.nrrd", b"sizes: 6 5 4", b"sizes: 6 5 400000000")
        refused(tmp_path / "a.nrrd", encoding, by_header=True)
    patched(written["packed.mha"], tmp_path / "a.mha", b"DimSize = 6 5 4", b"DimSize = 6 5 4000000")
    refused(tmp_path / "a.mha", "promises", by_header=True)
    patched(written["plain.npy"], tmp_path / "a.npy", b"(4, 5, 6), }  ", b"(4, 5, 666), }")
    refused(tmp_path / "a.npy", "ends after", by_header=True)


def bombs(folder: Path, written: dict[str, Path]) -> list[Path]:
    """Files whose headers promise 120 voxels and whose bodies inflate to 256 MB."""
    zeros = gzip.compress(b"\0" * (32 * MB), 1) * 8
    nii = folder / "bomb.nii.gz"
    nii.write_bytes(gzip.compress(written["plain.nii"].read_bytes()) + zeros)
    mgz = folder / "bomb.mgz"
    mgz.write_bytes(gzip.compress(written["plain.mgh"].read_bytes()) + zeros)
    nrrd_file = folder / "bomb.nrrd"
    nrrd_file.write_bytes(written["lps.nrrd"].read_bytes().partition(b"\n\n")[0] + b"\n\n" + zeros)
    mha = folder / "bomb.mha"
    squeeze = zlib.compressobj(1)
    body = b"".join(squeeze.compress(b"\0" * (32 * MB)) for _ in range(8)) + squeeze.flush()
    mha.write_bytes(written["packed.mha"].read_bytes().partition(b"LOCAL\n")[0] + b"LOCAL\n" + body)
    npz = folder / "bomb.npz"
    with (
        zipfile.ZipFile(npz, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a.npy", "w") as member,
    ):
        member.write(written["plain.npy"].read_bytes())
        for _ in range(8):
            member.write(b"\0" * (32 * MB))
    return [nii, mgz, nrrd_file, mha, npz]


def test_decompression_bombs_stop_at_what_the_header_promises(
    written: dict[str, Path], tmp_path: Path
) -> None:
    for path in bombs(tmp_path, written):
        tracemalloc.start()
        refused(path, "holds more than", by_header=False)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 16 * MB, path.name


def test_a_plain_file_much_longer_than_its_header_says_is_refused(
    written: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "a.nii").write_bytes(written["plain.nii"].read_bytes() + b"\0" * (2 * MB))
    refused(tmp_path / "a.nii", "holds more than", by_header=True)


def test_voxels_beyond_the_memory_are_too_large(written: dict[str, Path], tmp_path: Path) -> None:
    patched(written["bzip2.nrrd"], tmp_path / "a.nrrd", b"sizes: 6 5 4", b"sizes: 6 5 40000000000000000")
    with pytest.raises(TooLarge, match=r"a\.nrrd: not enough memory"):
        read_labels(tmp_path / "a.nrrd")


def test_a_failing_disk_is_no_bad_file(written: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "the disk fails")

    monkeypatch.setattr("dmapsvc.volumes.reading.open_stored", fail)
    with pytest.raises(OSError, match="the disk fails"):
        read_header(written["plain.nii"])


def test_a_little_padding_behind_the_voxels_is_no_bomb(
    written: dict[str, Path], tmp_path: Path, sample: Any
) -> None:
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(written["plain.nii"].read_bytes() + b"\0" * 512))
    np.testing.assert_array_equal(read_labels(tmp_path / "a.nii.gz").array, sample.labels)
