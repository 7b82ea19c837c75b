"""Who changed what: one line of JSON for each change, appended to a file that is never rewritten.

Which changes are told of, and in which words, is for those who make them.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path

from dmapsvc.superuser import open_owned

_log = logging.getLogger(__name__)


class AuditLog:
    """The file `path`, of mode 0600; several processes of one machine append to it, a line in one write.

    It may be renamed at any time, by what rotates it: the next line begins a new file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, **facts: object) -> None:
        """Append `facts` that are not None, after the time in UTC.

        What was done is done: a line that cannot be written is told to the log, and raises nothing.
        """
        known = {name: fact for name, fact in facts.items() if fact is not None}
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = f"{json.dumps({'time': time, **known})}\n".encode()
        try:
            if self._append(line):
                return
            reason = "only a part of the line was written"
        except OSError as error:
            reason = error.strerror or "it cannot be written"
        _log.error("the audit file: %s; the line was: %s", reason, line.decode().strip())

    def _append(self, line: bytes) -> bool:
        """Write `line`, on a line of its own also where an earlier one broke off; whether all of it was."""
        descriptor = open_owned(self._path, os.O_RDWR | os.O_APPEND)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # a line that is half written is not one that broke off
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            whole = b"\n" + line if torn else line
            return os.write(descriptor, whole) == len(whole)
        finally:
            os.close(descriptor)
