"""What every reader must do with any file: refuse it in one line, or read what the header promised."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dmapsvc.errors import BadInput
from dmapsvc.spec import is_side
from dmapsvc.volumes import Header, Volume, read_header, read_image, read_labels
from dmapsvc.volumes.volume import Kind

LARGEST = 1 << 26  # bytes of voxels that are read: a service refuses by the header what is over its budget
LONGEST = 1000  # characters of a message

_READERS: dict[Kind, Callable[[Path], Volume]] = {"labels": read_labels, "image": read_image}


def judge(path: Path) -> bool:
    """Read a file in every way; whether any of them took it. AssertionError for what must not be."""
    taken = [_read(path, kind) for kind in _READERS]
    return any(taken)


def _read(path: Path, kind: Kind) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what pydicom, pynrrd and NumPy have to say of broken headers
        try:
            header = read_header(path, kind=kind)
        except BadInput as error:
            check_message(error.detail, path)
            return False
        _check_header(header, kind)
        if header.bytes > LARGEST:
            return True
        try:
            volume = _READERS[kind](path)
        except BadInput as error:
            check_message(error.detail, path)
            return False
    _check_volume(volume, header, kind)
    return True


def check_message(message: str, path: Path) -> None:
    """AssertionError unless it is one line of bearable length that shows no folder of the machine."""
    assert message.isprintable(), f"a message with control characters: {message!r}"
    assert len(message) <= LONGEST, f"a message of {len(message)} characters: {message[:200]!r}"
    assert str(path.parent) not in message, f"a message that shows a folder: {message!r}"


def _check_header(header: Header, kind: Kind) -> None:
    assert min(header.shape) >= 1, header
    assert header.channels == 1 or (kind == "image" and header.channels > 1), header
    assert header.dtype.kind in "biuf", header
    assert header.spacing is None or all(map(is_side, header.spacing)), header
    assert header.affine is None or np.isfinite(header.affine).all(), header


def _check_volume(volume: Volume, header: Header, kind: Kind) -> None:
    array = volume.array
    expected = header.shape if header.channels == 1 else (header.channels, *header.shape)
    assert array.shape == expected, (array.shape, header)
    assert array.flags.c_contiguous
    assert array.dtype.isnative
    assert array.dtype.kind in ("u" if kind == "labels" else "uif")
    assert np.isfinite(array).all()
