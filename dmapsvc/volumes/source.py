"""The open file behind a volume, and reading it without ever taking more than its header promises.

Every format goes through here, so that truncated files, headers that promise too much and decompression
bombs are refused in one place and in the same words. What the bytes mean is the business of the formats.
"""

from __future__ import annotations

import bz2
import errno
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from isal import igzip
from numpy.typing import NDArray

from dmapsvc.errors import BadFile, DmapsvcError, TooLarge

Compression = Literal["none", "gzip", "zlib", "bzip2"]

MACHINE = {
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.ENOTCONN,
    errno.EHOSTDOWN,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
}
"""What a failing machine or a lost network disk says, whatever the file is."""

HEAD = 4096  # bytes that tell the format and hold every fixed-size header
_CHUNK = 1 << 22
_SURPLUS = 1 << 20  # padding and footers that writers leave behind the voxels (MGH keeps its history there)
_MOST_SKIPPED = 1 << 26  # NIfTI extensions lie before the voxels
_QUOTE = re.compile("[:'\"`<\\[]")  # what a library's message quotes of a file comes after one of these
_MOST = 1 << 62  # bytes of voxels; a header that promises more is not even quoted: it may be a page of digits
_DEFLATE_RATIO = 1032  # the most that deflate can shrink (https://zlib.net/zlib_tech.html)


@dataclass(frozen=True)
class Source:
    """An open file, the name that messages call it, and its size in bytes."""

    file: io.BufferedReader
    name: str
    size: int

    @cached_property
    def head(self) -> bytes:
        """The first bytes of the file as it lies on the disk."""
        self.file.seek(0)
        return self.file.read(HEAD)

    @cached_property
    def inner_head(self) -> bytes:
        """The first bytes of the content: those of `head`, inflated if the file is gzipped."""
        if not self.gzipped:
            return self.head
        try:
            return zlib.decompressobj(31).decompress(self.head, HEAD)
        except zlib.error as error:
            raise damaged(self.name, error) from error

    @property
    def gzipped(self) -> bool:
        """Whether the file as a whole is gzip."""
        return self.head.startswith(b"\x1f\x8b")


@contextmanager
def open_source(path: Path, name: str | None) -> Iterator[Source]:
    """Open a file for reading. Raises BadFile if that cannot be done, and for what any reader stumbles over.

    A failing machine (`MACHINE`) stays the OSError it is: the file may be good.
    """
    shown = name or path.name
    try:
        file = path.open("rb")
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) in MACHINE:
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise BadFile(f"{shown}: {reason.lower()}", "wanted a file that can be read") from error
    with file, _readers_errors(shown):
        yield Source(file, shown, file.seek(0, io.SEEK_END))


@contextmanager
def _readers_errors(name: str) -> Iterator[None]:
    try:
        yield
    except DmapsvcError:
        raise
    except MemoryError as error:
        raise TooLarge(
            f"{name}: not enough memory for its voxels", remedy="Crop it, or use a larger machine"
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in MACHINE:
            raise
        raise damaged(name, error) from error


def damaged(name: str, error: Exception) -> BadFile:
    """The error for a file that its reader gave up on."""
    return BadFile(
        f"{name}: cannot be read ({_reason(error)})",
        "the file seems to be damaged",
        "Export or copy it again",
    )


def _reason(error: Exception) -> str:
    """What a reader said, without what it quotes: that may be a patient's name."""
    said = " ".join(str(error).split())
    if not isinstance(error, (zlib.error, EOFError, OSError)):  # those see compressed bytes alone
        said = _QUOTE.split(said)[0].rstrip()
    return said[:200] or type(error).__name__


@dataclass(frozen=True, kw_only=True)
class Body:
    """Where a file keeps its voxels.

    A stream of `compression` starts at byte `offset` of the file; the voxels are the `size` bytes that
    follow the first `skip` bytes of it.
    """

    compression: Compression
    offset: int
    size: int
    skip: int = 0

    def check(self, source: Source) -> None:
        """Raise BadFile if the file is too short or too long for this body, as far as its length shows."""
        check_promise(self.size, source.name)
        if not 0 <= self.skip <= _MOST_SKIPPED or self.offset < 0:
            raise BadFile(f"{source.name}: its voxels would start at byte {self.offset + self.skip}")
        there = max(0, source.size - self.offset)
        if self.compression == "none" and there < self.skip + self.size:
            raise ends_early(source.name, max(0, there - self.skip), self.size)
        if self.compression == "none":
            check_surplus(there - self.skip - self.size, self.size, source.name)
        if self.compression in ("gzip", "zlib") and self.skip + self.size > there * _DEFLATE_RATIO:
            raise BadFile(
                f"{source.name}: its header promises {self.size} bytes of voxels; {there} bytes follow",
                "voxels do not compress that far",
                "Export or copy it again",
            )

    def read(self, source: Source) -> NDArray[np.uint8]:
        """The voxels' bytes; raises BadFile if there are fewer than promised, or far more."""
        self.check(source)
        source.file.seek(self.offset)
        return read_promised(
            _decompressing(source.file, self.compression), self.size, source.name, skip=self.skip
        )


def read_promised(stream: io.BufferedIOBase, size: int, name: str, *, skip: int = 0) -> NDArray[np.uint8]:
    """Exactly `size` bytes of a stream after `skip`; never reads much further, whatever it inflates to.

    Raises BadFile if the stream ends before, or goes on for more than a footer.
    """
    try:
        if skip:
            stream.seek(skip, io.SEEK_CUR)
        buffer = np.empty(size, np.uint8)
        done = _fill(stream, buffer)
        if done < size:
            raise ends_early(name, done, size)
        check_surplus(len(_read_fully(stream, _SURPLUS + 1)), size, name)
    except EOFError as error:
        raise BadFile(
            f"{name}: its compressed data breaks off", "wanted a whole file", "Copy it again"
        ) from error
    return buffer


def check_promise(size: int, name: str) -> None:
    """Raise BadFile for a number of bytes that no file holds."""
    if size > _MOST:
        raise BadFile(
            f"{name}: its header promises more voxels than any file holds", remedy="Export or copy it again"
        )


def check_surplus(surplus: int, size: int, name: str) -> None:
    """Raise BadFile if more than a footer follows the `size` bytes of voxels."""
    if surplus > _SURPLUS:
        raise BadFile(
            f"{name}: holds more than the {size} bytes of voxels that its header promises",
            "nothing may follow the voxels",
            "Export it again",
        )


def ends_early(name: str, there: int, promised: int) -> BadFile:
    """The error for a file with fewer voxels than its header says."""
    return BadFile(
        f"{name}: ends after {there} of {promised} bytes of voxels",
        "the file is truncated",
        "Copy or export it again",
    )


def _fill(stream: io.BufferedIOBase, buffer: NDArray[np.uint8]) -> int:
    done = 0
    while done < len(buffer):
        try:
            count = stream.readinto(buffer[done : done + _CHUNK].data)
        except EOFError:
            break
        if not count:
            break
        done += count
    return done


def _read_fully(stream: io.BufferedIOBase, size: int) -> bytes:
    parts = []
    while size > 0 and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _decompressing(file: io.BufferedReader, compression: Compression) -> io.BufferedIOBase:
    if compression == "gzip":
        return igzip.IGzipFile(fileobj=file, mode="rb")
    if compression == "bzip2":
        return bz2.BZ2File(file)
    if compression == "zlib":
        return io.BufferedReader(_Inflating(file))
    return file


class _Inflating(io.RawIOBase):
    """A zlib stream (MetaImage has no gzip header around its voxels) as a file."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._inflater.eof:
            packed = self._inflater.unconsumed_tail or self._file.read(1 << 16)
            part = self._inflater.decompress(packed, len(buffer))
            if part:
                buffer[: len(part)] = part
                return len(part)
            if not packed:
                raise EOFError
        return 0
