"""Where a remote dataset comes from: its cases and its files, as the other side has them now.

An origin asks once and keeps nothing: trying again is `patience.py`'s, keeping is `mirror.py`'s.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from dmapsvc.client import FilePart
from dmapsvc.errors import BadInput


class Origin(Protocol):
    """A dataset on the other side. Usable by several threads at once, not by another process.

    Its methods raise ServerUnreachable where nothing answered that could, ServerProblem where a service
    refused or failed, and BadInput where nobody may read.
    """

    @property
    def address(self) -> str:
        """What tells this dataset from every other, wherever it lies."""

    @property
    def name(self) -> str:
        """What the dataset is called."""

    def cases(self) -> list[str]:
        """The names of the cases published now, sorted."""

    def read(self, key: str) -> bytes | None:
        """The small file `key`, such as 'case01/zarr.json'; None if there is none."""

    def part(self, key: str, begin: int, tag: str | None) -> AbstractContextManager[FilePart | None]:
        """The file `key`, to be read inside the block: from the byte `begin` on if it still has the `tag`
        that an earlier part had, else the whole of it. None if there is none.
        """


def open_origin(url: str) -> Origin:
    """The dataset at 'http://host:port/v1/datasets/knees' or 's3://bucket/prefix/knees.zarr'.

    Nothing is asked yet. Raises BadInput for another URL, and where `obstore`, which reads S3, is missing.
    """
    scheme = url.partition("://")[0]
    if scheme in ("http", "https"):
        from dmapsvc.loader.remote.http_origin import HttpOrigin

        return HttpOrigin(url)
    if scheme == "s3":
        from dmapsvc.loader.remote.s3_origin import S3Origin

        return S3Origin(url)
    raise BadInput(
        f"{url}: a dataset cannot be read over {scheme}://",
        "wanted http://host:port/v1/datasets/knees or s3://bucket/prefix/knees.zarr",
    )
