"""The folders of a server that callers may name, and where a file below them really lies.

Links are resolved on both sides. What lies anywhere else is refused in the same words whether it is there
or not.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from dmapsvc.errors import BadInput

_LONGEST = 4096  # characters of a path, as Linux has it


class Roots:
    """The allowed `folders`, which need not be there yet."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = tuple(os.path.realpath(folder) for folder in folders)
        self._parent = cache(os.path.realpath)  # of tens of thousands of files few folders

    def folder(self, text: str) -> Path:
        """The folder that a caller called `text`, as it was written; raises BadInput."""
        if not self._folders:
            raise BadInput(
                "this service reads no folders",
                "its operator names those that it may with DMAPSVC_ROOTS",
                "Upload the files instead",
            )
        shown = text[:200]
        if not self._is_below(text):
            raise BadInput(
                f"{shown!r}: not below a folder that this service may read",
                "wanted a whole path below one of DMAPSVC_ROOTS, which its operator sets",
                "Ask for it to be allowed, or upload the files",
            )
        if not os.path.isdir(text):  # noqa: PTH112, which does not raise for what may not be looked at
            raise BadInput(f"{shown!r}: no such folder", remedy="Check the path")
        return Path(text)

    def real(self, file: Path) -> str | None:
        """The path of `file` with all links resolved; None unless it is below one of the folders."""
        real = os.path.join(self._parent(file.parent), file.name)  # noqa: PTH118, four times as fast
        if os.path.islink(real):  # noqa: PTH114, likewise
            real = os.path.realpath(real)
        return real if self.holds(real) else None

    def holds(self, path: str) -> bool:
        """Whether `path`, which has no links in it, is below one of the folders."""
        return self._holding(path) is not None

    def is_there(self, path: str) -> bool:
        """Whether the folder that `path` is below is there, and not empty, as it is with no disk mounted."""
        root = self._holding(path)
        if root is None:
            return False
        try:
            with os.scandir(root) as names:
                return any(names)
        except OSError:
            return False

    def is_real(self, path: str) -> bool:
        """Whether `path` is below one of the folders, with no link on the way."""
        return os.path.realpath(path) == path and self.holds(path)

    def _is_below(self, text: str) -> bool:
        if len(text) > _LONGEST or not Path(text).is_absolute():
            return False
        try:
            return self.holds(os.path.realpath(text))
        except ValueError:  # a NUL, or what no file's name can be written with
            return False

    def _holding(self, real: str) -> str | None:
        below = (root for root in self._folders if real == root or real.startswith(root.rstrip("/") + "/"))
        return next(below, None)
