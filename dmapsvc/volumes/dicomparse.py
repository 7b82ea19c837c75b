"""Parsing as much of a DICOM file as is asked for, and no more.

pydicom builds an object for every element, of which eight bytes make one, and inflates a deflated file whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO, cast

from pydicom.filereader import read_dataset, read_partial
from pydicom.tag import BaseTag, Tag

from dmapsvc.errors import TooLarge
from dmapsvc.volumes.source import Source

_PIXELS = Tag("PixelData")
_META = 132  # where the meta information starts: behind a preamble and "DICM"
_MOST_WORK = 1 << 25  # bytes, and _EACH a read: some 12,000 frames, and a few seconds at most
_EACH = 16


def read_meta(source: Source) -> Any:
    """The meta information, whose transfer syntax says whether the rest may be parsed."""
    file = _Bounded(source)
    file.seek(_META)
    return read_dataset(cast(BinaryIO, file), False, True, stop_when=lambda tag, _, __: tag.group != 2)


def read_elements(source: Source, names: list[str]) -> Any:
    """The elements of these names that come before the pixels; the file is left where those start.

    Raises TooLarge for a header that takes too much work.
    """
    return _read(_Bounded(source), names, lambda tag, _, __: int.__ge__(tag, _PIXELS))  # BaseTag's is slow


def read_pixels(source: Source, names: list[str]) -> Any:
    """The pixels and the elements of these names before them, of a file that `read_elements` has taken."""
    seen = False

    def behind(tag: BaseTag, _: str | None, __: int) -> bool:
        nonlocal seen
        seen, was = seen or tag == _PIXELS, seen
        return was

    return _read(source.file, [*names, "PixelData"], behind)


def _read(
    file: BinaryIO | _Bounded, names: list[str], stop: Callable[[BaseTag, str | None, int], bool]
) -> Any:
    file.seek(0)
    return read_partial(cast(BinaryIO, file), stop_when=stop, specific_tags=[Tag(name) for name in names])


class _Bounded:
    """The open file of a source, for a parser; raises TooLarge once that has become too much work."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._left = _MOST_WORK

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.file.read(size)
        self._left -= len(data) + _EACH
        if self._left < 0:
            raise TooLarge(
                f"{self._source.name}: its DICOM header goes on and on",
                "wanted some ten thousand frames at most",
                "Convert it to NIfTI or NRRD",
            )
        return data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._source.file.seek(offset, whence)

    def tell(self) -> int:
        return self._source.file.tell()
