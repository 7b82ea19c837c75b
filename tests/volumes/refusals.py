"""How the tests of bad files make them, and what being refused means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dmapsvc.errors import BadFile
from dmapsvc.volumes import read_header, read_labels

MB = 1 << 20


def refused(path: Path, words: str, *, by_header: bool, error: type[BadFile] = BadFile) -> None:
    """`path` is refused with `words`; by `read_header` too exactly if `by_header`."""
    with pytest.raises(error, match=words) as caught:
        read_labels(path, name="mask")
    assert caught.value.detail.startswith("mask: ")
    assert caught.value.wanted or caught.value.remedy
    if by_header:
        with pytest.raises(error, match=words):
            read_header(path)
    else:
        read_header(path)


def save(path: Path, labels: Any) -> Path:
    np.save(path, labels)
    return path


def patched(path: Path, to: Path, old: bytes, new: bytes) -> Path:
    content = path.read_bytes()
    assert old in content
    to.write_bytes(content.replace(old, new, 1))
    return to


def with_field(path: Path, to: Path, offset: int, kind: str, *values: float) -> Path:
    """A copy of a plain NIfTI with numbers of its header replaced."""
    content = bytearray(path.read_bytes())
    field = np.array(values, kind).tobytes()
    content[offset : offset + len(field)] = field
    to.write_bytes(content)
    return to
