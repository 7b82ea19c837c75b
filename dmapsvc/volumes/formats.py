"""Which format a file is, by its content; its name is only a hint for people.

An upload lies in a spool file without an extension, and names lie: a web page saved as mask.nii.gz is told
for what it is.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from functools import partial

from dmapsvc.errors import BadFile
from dmapsvc.volumes import metaimage, mgz, nifti, nrrd, numpy
from dmapsvc.volumes.source import Source
from dmapsvc.volumes.stored import Stored
from dmapsvc.volumes.volume import Kind

SUFFIXES = (
    ".nii", ".nii.gz", ".mgz", ".mgh", ".nrrd", ".mha", ".npy", ".npz", ".dcm", ".nhdr", ".mhd", ".hdr",
)  # fmt: skip
"""Endings of files that a folder's listing takes for volumes; the last three are refused with a word."""


def _formats(kind: Kind) -> tuple[tuple[Callable[[bytes], bool], Callable[[Source], Stored], bool], ...]:
    """How content is told, what opens it, and whether the whole file may be gzipped."""
    return (
        (lambda head: nifti.magic_of(head) is not None, nifti.open_nifti, True),
        (mgz.is_mgh, mgz.open_mgh, True),
        (lambda head: head.startswith(b"NRRD"), nrrd.open_nrrd, False),
        (lambda head: head.startswith(b"\x93NUMPY"), numpy.open_npy, False),
        (lambda head: head.startswith(b"PK\x03\x04"), partial(numpy.open_npz, kind=kind), False),
        (lambda head: head[128:132] == b"DICM", _open_dicomseg, False),
        (metaimage.is_metaimage, metaimage.open_metaimage, False),
    )


_LOOKS_LIKE = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"II*\0": "a TIFF picture",
    b"MM\0*": "a TIFF picture",
    b"%PDF": "a PDF",
    b"\x89HDF": "an HDF5 file",
    b"BZh": "bzip2-compressed data",
    b"\x28\xb5\x2f\xfd": "zstd-compressed data",
    b"\xfd7zXZ": "xz-compressed data",
    b"PK": "an empty zip",
    b"\x80\x04": "a Python pickle",
    b"\x5c\x01\0\0": "an Analyze 7.5 header",
    b"\0\0\x01\x5c": "an Analyze 7.5 header",
}
_WANTED = "wanted NIfTI, MGZ, NRRD, MetaImage, NumPy or DICOM-SEG"


def open_stored(source: Source, kind: Kind) -> Stored:
    """The volume of an open file of any format; raises BadFile, saying what the file looks like instead.

    `kind` matters to a format that may hold both in one file.
    """
    head = source.inner_head
    for is_format, opener, may_be_gzipped in _formats(kind):
        if is_format(head):
            if source.gzipped and not may_be_gzipped:
                raise BadFile(
                    f"{source.name}: gzipped as a whole",
                    "this format compresses its own voxels",
                    "Run gunzip on it first",
                )
            return opener(source)
    raise BadFile(
        f"{source.name}: {'gzipped, and inside ' if source.gzipped else ''}looks like {_describe(head)}",
        _WANTED,
        "Export the mask in one of these formats",
    )


def _open_dicomseg(source: Source) -> Stored:
    from dmapsvc.volumes.dicomseg import open_dicomseg  # pydicom is slow to import, and few files are DICOM

    return open_dicomseg(source)


def _describe(head: bytes) -> str:
    if not head:
        return "an empty file"
    for magic, words in _LOOKS_LIKE.items():
        if head.startswith(magic):
            return words
    if all(byte in string.printable.encode() for byte in head[:256]):
        return "HTML" if head.lstrip()[:1] == b"<" else "text"
    return "no format known here"
