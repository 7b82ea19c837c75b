"""Files of a batch, which lie in folders of their owners: what they are known by, and whether they changed.

Such a file is only ever read here; nothing of this service writes or removes it.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat

from dmapsvc.errors import BadFile
from dmapsvc.jobs.record import Request
from dmapsvc.roots import Roots


def source_key(path: str, name: str) -> str:
    """What the file at `path` is known by before it is read: a hash of its path, size and time, 64 digits.

    Raises BadFile, in which it is called `name`, unless it is a file that can be looked at.
    """
    try:
        found = os.stat(path)  # noqa: PTH116, half the time of Path.stat
    except OSError as error:
        raise BadFile(f"{name}: cannot be read ({error.strerror})", remedy="Check the file") from None
    if not stat.S_ISREG(found.st_mode):
        raise BadFile(f"{name}: no ordinary file", "a pipe or a device is not read", "Check the file")
    parts = ["source", path, found.st_size, found.st_mtime_ns]
    return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()


def check_source(request: Request, roots: Roots) -> None:
    """Raise BadFile unless the file of `request`, if it is a batch's, is the one that was submitted."""
    if request.source is None:
        return
    if not roots.is_real(request.source):
        raise BadFile(
            f"{request.filename}: not below the folders that this worker may read, or a link by now",
            "the API and its workers are given the same DMAPSVC_ROOTS",
            "See that they are, then submit the folder again",
        )
    if source_key(request.source, request.filename) != request.sha256:
        raise BadFile(
            f"{request.filename}: it has changed since the batch was submitted",
            remedy="Submit the folder again; what is done is not done twice",
        )
