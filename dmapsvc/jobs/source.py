"""Files of a batch, which lie in folders of their owners: what they are known by, and whether they changed.

Such a file is only ever read here; nothing of this service writes or removes it. What is wrong with a file is
BadFile, for good; a disk that is away or fails is SourceAway, and the file may be read later, or elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable

from dmapsvc.errors import BadFile, DmapsvcError, SourceAway
from dmapsvc.jobs.record import Request
from dmapsvc.roots import Roots
from dmapsvc.volumes.source import MACHINE

_BLOCK = 1 << 20  # bytes hashed between two looks at whether to go on


def source_key(path: str, name: str) -> str:
    """What the file at `path` is known by before it is read: a hash of its path, size and time, 64 digits.

    Raises BadFile, in which it is called `name`, unless it is a file that can be looked at; SourceAway.
    """
    try:
        found = os.stat(path)  # noqa: PTH116, half the time of Path.stat
    except OSError as error:
        raise unreadable(error, name) from None
    if not stat.S_ISREG(found.st_mode):
        raise BadFile(f"{name}: no ordinary file", "a pipe or a device is not read", "Check the file")
    parts = ["source", path, found.st_size, found.st_mtime_ns]
    return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()


def check_source(request: Request, roots: Roots) -> None:
    """Raise BadFile unless the file of `request`, if it is a batch's, is the one that was submitted.

    Raises SourceAway if it is not below `roots`, or the one that it is below is not there.
    """
    if request.source is None:
        return
    if not roots.holds(request.source):
        raise SourceAway(
            f"{request.filename}: not below the folders that this worker may read",
            "the API and its workers are given the same DMAPSVC_ROOTS",
            "See that they are, then run the job again",
        )
    if not roots.is_real(request.source):
        raise BadFile(
            f"{request.filename}: a link by now, or below one",
            remedy="Submit the folder again; what is done is not done twice",
        )
    try:
        key = source_key(request.source, request.filename)
    except BadFile:
        if roots.is_there(request.source):
            raise
        raise _away(request.filename, "its folder is not there, or empty") from None
    if key != request.sha256:
        raise BadFile(
            f"{request.filename}: it has changed since the batch was submitted",
            remedy="Submit the folder again; what is done is not done twice",
        )


def source_sha256(request: Request, progress: Callable[[], object]) -> str:
    """sha256 of the bytes of the file of `request`; calls `progress` again and again, which may raise.

    Raises BadFile if it cannot be read, SourceAway.
    """
    digest = hashlib.sha256()
    try:
        with open(request.source or "", "rb", buffering=0) as file:  # noqa: PTH123, a path without links
            while block := file.read(_BLOCK):
                digest.update(block)
                progress()
    except OSError as error:
        raise unreadable(error, request.filename) from None
    return digest.hexdigest()


def unreadable(error: OSError, name: str) -> DmapsvcError:
    """What `error`, met while reading the file called `name`, says: of the file, or of its disk."""
    if error.errno in MACHINE:
        return _away(name, (error.strerror or "it fails").lower())
    return BadFile(f"{name}: cannot be read ({error.strerror})", remedy="Check the file")


def _away(name: str, why: str) -> SourceAway:
    return SourceAway(
        f"{name}: the disk that it lies on cannot be reached ({why})",
        remedy="See that it is mounted where the worker runs, then run the job again",
    )
