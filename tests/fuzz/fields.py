"""Headers whose fields are set to what no writer writes: sizes, types, offsets, scales, frames."""

from __future__ import annotations

import io
import struct
import warnings
from random import Random

import pydicom

_SIZES = (0, 1, 2, 4, 5, 6, -1, 255, 1000, 32767, -32768)
_LARGE = (0, 1, 4, 5, 6, -1, 300, 65535, 2**20, 2**31 - 1, -(2**31))
_REALS = (
    0.0,
    -1.0,
    1.0,
    0.5,
    1e-7,
    1e-6,
    1e6,
    1e7,
    1e-38,
    1e-45,
    3e38,
    float("nan"),
    float("inf"),
    float("-inf"),
)
_CODES = (0, 1, 2, 3, 4, 8, 10, 16, 32, 64, 128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2304, 32767, -1)

_NIFTI_1 = {  # offset, form and values of a number; https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h
    "axes": (40, "h", (*range(-1, 10), 32767)), "sizes": (42, "h", _SIZES), "type": (70, "h", _CODES),
    "bits": (72, "h", _SIZES), "pixdim": (76, "f", _REALS),
    "offset": (108, "f", (*_REALS, 348.0, 352.5, 1e9)),
    "scale": (112, "f", _REALS), "units": (123, "b", tuple(range(-1, 64))), "codes": (252, "h", _SIZES),
    "quaternion": (256, "f", _REALS), "sform": (280, "f", _REALS), "first": (0, "i", (348, 540, *_LARGE)),
}  # fmt: skip
_NIFTI_2 = {
    "axes": (16, "q", tuple(range(-1, 10))), "sizes": (24, "q", (*_LARGE, 2**62, -(2**63))),
    "type": (12, "h", _CODES), "pixdim": (104, "d", (*_REALS, 1e300)),
    "offset": (168, "q", (*_LARGE, 544, 2**62)),
    "scale": (176, "d", (*_REALS, 1e300)), "units": (500, "i", tuple(range(-1, 64))),
    "codes": (344, "i", _SIZES),
    "quaternion": (352, "d", (*_REALS, 1e300)), "sform": (400, "d", (*_REALS, 1e300)),
}  # fmt: skip
_MGH = {
    "sizes": (4, "i", _LARGE), "type": (20, "i", (0, 1, 2, 3, 4, 5, 10, -1)), "good": (28, "h", (0, 1, -1)),
    "delta": (30, "f", _REALS), "directions": (42, "f", _REALS), "centre": (78, "f", _REALS),
}  # fmt: skip
_REPEATS = {
    "sizes": 7, "pixdim": 8, "scale": 2, "codes": 2, "quaternion": 6, "sform": 12, "delta": 3,
    "directions": 9, "centre": 3,
}  # fmt: skip

_DICOM = {
    "Rows": (0, 1, 5, 6, 65535), "Columns": (0, 1, 5, 6, 65535),
    "NumberOfFrames": ("0", "1", "-1", "8", "2147483647"),
    "BitsAllocated": (0, 1, 8, 16, 32, 65535), "BitsStored": (0, 1, 8, 16, 33), "HighBit": (0, 7, 40),
    "PixelRepresentation": (0, 1, 2), "SamplesPerPixel": (0, 1, 3),
    "SegmentationType": ("BINARY", "LABELMAP", "FRACTIONAL", "", "X" * 9000),
    "PhotometricInterpretation": ("MONOCHROME2", "PALETTE COLOR", "RGB", ""),
    "SOPClassUID": ("1.2", "", "x" * 64),
    "SegmentNumber": (0, 1, 65535), "ReferencedSegmentNumber": (0, 1, 2, 255, 65535),
    "ImagePositionPatient": ([0, 0, 0], [], ["1e38"] * 3, ["1e300", "0", "0"], [0, 0, 1e6], [1, 2]),
    "ImageOrientationPatient": ([1, 0, 0, 0, 1, 0], [0] * 6, [1, 0, 0, 1, 0, 0], [], ["1e38"] * 6, [1, 0]),
    "PixelSpacing": ([1, 1], [0, 0], [-1, 1], [], ["1e38", "1"], ["1e-7", "1"], [1]),
    "SpacingBetweenSlices": ("0", "-1", "1e-9", "1e38", "1"),
    "SliceThickness": ("0", "-1", "1e-9", "1e38", "1"),
}  # fmt: skip
_NESTED = (
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "SegmentSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence", "PixelMeasuresSequence", "SegmentIdentificationSequence", "PixelData",
)  # fmt: skip


def nifti(random: Random, content: bytes) -> bytes:
    """A NIfTI-1 or NIfTI-2 of little-endian numbers with some fields changed."""
    second = content[4:7] == b"n+2"
    return _changed(random, content, _NIFTI_2 if second else _NIFTI_1, "<")


def mgh(random: Random, content: bytes) -> bytes:
    """An MGH with some fields changed."""
    return _changed(random, content, _MGH, ">")


def dicom(random: Random, content: bytes) -> bytes:
    """A DICOM object with some elements changed or left out, at any depth."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values of no sense are the point
        whole = pydicom.dcmread(io.BytesIO(content))
        out = io.BytesIO()
        try:
            for _ in range(random.randint(1, 3)):
                _change_element(random, whole)
            whole.save_as(out)
        except Exception:  # pydicom makes or writes no such thing: then what was there before
            return content
    return out.getvalue()


def _changed(
    random: Random, content: bytes, fields: dict[str, tuple[int, str, tuple[float, ...]]], order: str
) -> bytes:
    changed = bytearray(content)
    for _ in range(random.randint(1, 3)):
        name = random.choice(list(fields))
        start, form, values = fields[name]
        which = random.randrange(_REPEATS.get(name, 1))
        offset = start + which * struct.calcsize(order + form)
        if offset + 8 <= len(changed):
            struct.pack_into(order + form, changed, offset, random.choice(values))
    return bytes(changed)


def _change_element(random: Random, whole: pydicom.Dataset) -> None:
    if random.random() < 0.3:
        name = random.choice(_NESTED)
        for holder in _holders(whole, name):
            if random.random() < 0.5:
                del holder[name]
            elif name != "PixelData":
                holder[name].value = list(holder[name].value)[: random.randint(0, 1)] * random.choice((1, 40))
        return
    name = random.choice(list(_DICOM))
    holders = _holders(whole, name) or [whole]
    for holder in random.sample(holders, random.randint(1, len(holders))):
        setattr(holder, name, random.choice(_DICOM[name]))


def _holders(dataset: pydicom.Dataset, name: str) -> list[pydicom.Dataset]:
    """Every dataset at any depth that has the element."""
    found = [dataset] if name in dataset else []
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                found += _holders(item, name)
    return found
