"""Part of a file on its way: where it begins, of which state of the file it is, and its bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from dmapsvc.errors import ServerUnreachable

_CONTENT_RANGE = re.compile(r"bytes (?P<begin>[0-9]+)-[0-9]+/(?P<size>[0-9]+)")


@dataclass(frozen=True, kw_only=True)
class FilePart:
    """The bytes of a file from `begin` to its end.

    `size` is the whole file's, None where the server does not say; `tag` stands for the file's state, None
    where nothing safe to go on from was given.
    """

    begin: int
    size: int | None
    tag: str | None
    blocks: Iterator[bytes]


def part_of(answer: httpx.Response) -> FilePart:
    """The part that a successful answer holds, its body still to be read; raises ServerUnreachable."""
    tag: str | None = answer.headers.get("etag")
    if tag is not None and tag.startswith("W/"):
        tag = None  # a weak one does not promise the same bytes (RFC 9110, 13.1.5)
    begin, length = 0, answer.headers.get("content-length", "")
    size = int(length) if length.isdigit() else None
    if answer.status_code == httpx.codes.PARTIAL_CONTENT:
        span = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
        if span is None:
            raise ServerUnreachable(f"{answer.url}: a part of a file that does not say which part it is")
        begin, size = int(span["begin"]), int(span["size"])
    return FilePart(begin=begin, size=size, tag=tag, blocks=answer.iter_bytes())
