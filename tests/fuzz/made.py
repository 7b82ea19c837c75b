"""Files made from nothing: volumes of any type and value, headers that promise anything, and bombs."""

from __future__ import annotations

import bz2
import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from random import Random

import numpy as np

_TYPES = (
    "u1", "i1", "<u2", ">i2", "<i4", ">u4", "<i8", ">u8", "<f2", "<f4", ">f4", "<f8", "b1", "<c8", "<U2",
    "S3", "<M8[s]", "V7",
)  # fmt: skip
_NAMES = ("labels", "mask", "arr_0", "other", "é")
_SHAPES: tuple[tuple[int, ...], ...] = (
    (), (1,), (5,), (3, 4), (2, 3, 4), (1, 1, 1), (1, 300, 1), (4, 4, 4), (7, 1, 5), (0, 3, 3),
    (1, 1, 2, 3, 4), (2, 2, 3, 4), (65536, 1),
)  # fmt: skip
_VALUES = (
    0,
    1,
    2,
    3,
    255,
    256,
    -1,
    65535,
    2**31,
    2**32 - 1,
    2**32,
    2**63,
    0.5,
    1e-9,
    1e300,
    np.nan,
    np.inf,
    -np.inf,
)
_PROMISES = (
    (5, 5, 5),
    (2**20, 2**20, 2**20),
    (2**62, 4, 4),
    (0, 0, 0),
    (65535, 65535, 65535),
    (2**63, 2**63, 1),
)
_BOMB = 1 << 26  # bytes that a bomb inflates to; more would only take the tests longer

Maker = Callable[[Random], bytes]


def volume(random: Random) -> bytes:
    """A NumPy file of any type, shape and value, in .npy or .npz."""
    shape = random.choice(_SHAPES)
    array = np.zeros(shape, random.choice(_TYPES))
    with np.errstate(all="ignore"):
        for _ in range(random.randint(0, 4)):
            if array.size and array.dtype.kind in "iufbc":
                value = np.array(random.choice(_VALUES)).astype(array.dtype)
                array.reshape(-1)[random.randrange(array.size)] = value
    file = io.BytesIO()
    if random.random() < 0.3:
        np.savez_compressed(file, allow_pickle=False, **{random.choice(_NAMES): array})
    else:
        np.save(file, np.asfortranarray(array) if random.random() < 0.3 else array)
    return file.getvalue()


def npy_header(random: Random) -> bytes:
    """An .npy of any version whose header is any text."""
    sizes = ", ".join(str(size) for size in random.choice(_PROMISES))
    text = random.choice(
        (
            f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({sizes}), }}",
            f"{{'descr': '{random.choice(_TYPES)}', 'fortran_order': True, 'shape': ({sizes}), }}",
            "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
            "{'descr': [('a', '<i4'), ('b', '|O')], 'fortran_order': False, 'shape': (3L,), }",
            "{'descr': '|u1', 'fortran_order': False, 'shape': " + "(" * 150 + ")" * 150 + "}",
            "{'descr': " + "-" * 9000 + "1}",
            "[" * 9000,
            "{" + "'descr': '|u1', " * 500 + "}",
            "__import__('os').system('true')",
            "9" * 9000,
            "\0" * 100,
            random.randbytes(random.randint(0, 200)).decode("latin-1"),
        )
    )
    version = random.choice(((1, 0), (2, 0), (3, 0), (0, 0), (255, 255)))
    promised = random.choice((len(text), len(text) + 1, 2, 0xFFFF, 0x7FFFFFFF))
    length = struct.pack("<H", promised & 0xFFFF) if version[0] < 2 else struct.pack("<I", promised)
    return b"\x93NUMPY" + bytes(version) + length + text.encode("latin-1", "replace") + bytes(200)


def npz_header_bomb(random: Random) -> bytes:
    """An .npz whose array has, small as it is packed, a header of many megabytes."""
    return _npz_header_bomb(random.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)))


def nrrd(random: Random) -> bytes:
    """An NRRD with fields in any number and order, and any values."""
    numbers = (
        "1",
        "2 3",
        "4 5 6",
        "4 5 6 1",
        "0 0 0",
        "-1 -1 -1",
        "9999999 9999999 9999999",
        "1e9 1 1",
        "nan",
        "x",
        "",
    )
    fields = {
        "type": ("uint8", "uchar", "short", "float", "double", "block", "", "x" * 3000),
        "dimension": ("1", "2", "3", "4", "16", "0", "-1", "x", "99999999999"),
        "sizes": numbers, "spacings": (*numbers, "nan nan nan", "inf 1 1", "1 1 1"),
        "encoding": ("raw", "gzip", "bzip2", "ascii", "hex", "", "y" * 3000),
        "endian": ("little", "big", "", "x"),
        "space": ("left-posterior-superior", "RAS", "scanner-xyz", "x", ""),
        "space dimension": ("3", "2", "x"),
        "space directions": ("(1,0,0) (0,1,0) (0,0,1)", "none (1,0) (0,1)", "none none none", "(1,0,0)",
        "(" * 2000, "()", "(nan,nan,nan) (1,1,1) (0,0,0)"),
        "space origin": ("(0,0,0)", "(1e400,0,0)", "none", "(0)", "x"),
        "kinds": ("domain domain domain", "list domain", "x", ""),
        "space units": ('"mm" "mm" "mm"', '"mm" "cm" ""', '"furlong"', "x"),
        "data file": ("other.raw", "/etc/passwd", "LIST"),
        "byte skip": ("0", "-1", "100", "x"), "line skip": ("0", "1"), "centers": ("cell cell cell", "x"),
        "key:=value": ("",),
        "thicknesses": ("nan nan nan", "1"), "axis mins": ("0 0 0", "x"),
        "measurement frame": ("(1,0,0) (0,1,0) (0,0,1)", "x"),
    }  # fmt: skip
    usual = {"type": "uint8", "dimension": "3", "sizes": "4 5 6", "encoding": "raw"}
    chosen = {
        **usual,
        **{name: random.choice(fields[name]) for name in random.sample(list(fields), random.randint(0, 6))},
    }
    lines = [f"{name}: {value}" for name, value in chosen.items()]
    if random.random() < 0.2:
        random.shuffle(lines)
    body = random.choice((bytes(120), gzip.compress(bytes(120), 1), bz2.compress(bytes(120)), b""))
    return "\n".join(["NRRD0005", *lines, "", ""]).encode() + body


def metaimage(random: Random) -> bytes:
    """A MetaImage with fields in any number, and any values."""
    numbers = (
        "1",
        "4 5",
        "6 5 4",
        "6 5 4 1",
        "0 0 0",
        "-6 -5 4",
        "99999999 99999999 99999999",
        "x",
        "",
        "nan 1 1",
        "1e400 1 1",
    )
    fields = {
        "NDims": ("1", "2", "3", "4", "0", "-1", "1000", "9" * 5000, "x", ""), "DimSize": numbers,
        "ElementSpacing": (*numbers, "1 1 1"),
        "ElementType": ("MET_UCHAR", "MET_SHORT", "MET_FLOAT", "MET_DOUBLE", "MET_UCHAR_ARRAY", "MET_OTHER",
        "x" * 3000, ""),
        "ElementNumberOfChannels": ("1", "2", "0", "-1", "999999999999"),
        "CompressedData": ("True", "False", "x"),
        "BinaryData": ("True", "False"), "BinaryDataByteOrderMSB": ("True", "False"),
        "HeaderSize": ("0", "-1", "100", "x"),
        "TransformMatrix": ("1 0 0 0 1 0 0 0 1", "0 0 0 0 0 0 0 0 0", "nan " * 9, "1", ""),
        "Offset": ("0 0 0", "inf 0 0", "1e308 1e308 1e308"),
        "DistanceUnits": ("mm", "m", "?", "z" * 2000), "Comment": ("x\x85y", "\r\r", "=" * 1000),
    }  # fmt: skip
    usual = {"NDims": "3", "DimSize": "6 5 4", "ElementType": "MET_UCHAR"}
    chosen = {
        **usual,
        **{name: random.choice(fields[name]) for name in random.sample(list(fields), random.randint(0, 6))},
    }
    lines = ["ObjectType = Image", *(f"{name} = {value}" for name, value in chosen.items())]
    lines.append(
        f"ElementDataFile = {random.choice(('LOCAL', 'LOCAL', 'LOCAL', 'other.raw', '/etc/passwd', ''))}"
    )
    body = random.choice((bytes(120), zlib.compress(bytes(120)), gzip.compress(bytes(120), 1), bytes(3)))
    return "\n".join([*lines, ""]).encode("latin-1") + body


def bomb(random: Random) -> bytes:
    """A small volume, or the promise of one as large as it inflates to, around far more zeros."""
    side = random.choice((4, 256, 400, 1600))  # 1600³ is more than there is
    zeros, packed, unpacked = _zeros()
    kind = random.choice(("nii.gz", "nrrd gzip", "nrrd bzip2", "mha", "members"))
    if kind == "nii.gz":
        header = bytearray(352)
        struct.pack_into("<i", header, 0, 348)
        struct.pack_into("<8h", header, 40, 3, side, side, side, 1, 1, 1, 1)
        struct.pack_into("<hh", header, 70, 2, 8)
        struct.pack_into("<8f", header, 76, *[1.0] * 8)
        struct.pack_into("<f", header, 108, 352.0)
        header[344:348] = b"n+1\0"
        return gzip.compress(bytes(header), 1) + zeros
    if kind == "members":
        return gzip.compress(b"", 1) * 20_000
    if kind == "mha":
        text = (
            f"NDims = 3\nDimSize = {side} {side} {side}\nElementType = MET_UCHAR\n"
            "CompressedData = True\nElementDataFile = LOCAL\n"
        )
        return text.encode() + packed
    encoding = kind.removeprefix("nrrd ")
    text = f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: {side} {side} {side}\nencoding: {encoding}\n\n"
    return text.encode() + (zeros if encoding == "gzip" else unpacked)


def noise(random: Random) -> bytes:
    """Any bytes, some of them behind the opening of a format."""
    opening = random.choice(
        (
            b"",
            b"NRRD0004\n",
            b"\x93NUMPY\1\0",
            b"PK\3\4",
            b"\x1f\x8b\x08",
            b"NDims = 3\n",
            bytes(128) + b"DICM",
            b"\0\0\0\1",
        )
    )
    return opening + random.randbytes(random.choice((0, 1, 30, 400, 5000)))


def nested_dicom(random: Random) -> bytes:
    """A DICOM file of sequences within sequences, none of which ends."""
    depth = random.choice((3, 100, 5000))
    meta = b"\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0"
    opening = b"DICM\x02\0\0\0UL\x04\0" + struct.pack("<I", len(meta)) + meta
    sequence = struct.pack("<HH2sHI", 0x5200, 0x9229, b"SQ", 0, 0xFFFFFFFF)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    return bytes(128) + opening + (sequence + item) * depth


MAKERS: tuple[Maker, ...] = (
    volume,
    volume,
    npy_header,
    nrrd,
    nrrd,
    metaimage,
    metaimage,
    noise,
    nested_dicom,
)
BOMBS: tuple[Maker, ...] = (bomb, npz_header_bomb)


@cache
def _zeros() -> tuple[bytes, bytes, bytes]:
    """Many zeros by gzip, zlib and bzip2."""
    zeros = bytes(_BOMB)
    return gzip.compress(zeros, 6, mtime=0), zlib.compress(zeros, 6), bz2.compress(zeros)


@cache
def _npz_header_bomb(compression: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("labels.npy", b"\x93NUMPY\2\0" + struct.pack("<I", _BOMB) + b" " * _BOMB)
    return file.getvalue()
