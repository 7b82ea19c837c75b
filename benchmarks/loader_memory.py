"""The memory of a process and all that it started, so that what they share counts once."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_ROLLUP = "/proc/{}/smaps_rollup"
IS_SHARED_OUT = Path(_ROLLUP.format("self")).exists()
KIND = (
    "PSS: memory that several processes share is divided among them"
    if IS_SHARED_OUT
    else "RSS: memory that several processes share counts in each"
)


@dataclass(frozen=True, kw_only=True, order=True)
class Memory:
    """Bytes in memory: `own`, and `files`, pages of mapped files, which the system may drop.

    Where the system does not tell PSS, all is `own`.
    """

    own: int = 0
    files: int = 0

    @classmethod
    def of(cls, process: psutil.Process) -> Memory:
        """Of `process` and everything below it, now."""
        found = [process]
        with suppress(psutil.NoSuchProcess):
            found += process.children(recursive=True)
        parts = [_memory(each.pid) for each in found]
        return cls(own=sum(part.own for part in parts), files=sum(part.files for part in parts))

    @classmethod
    def peak(cls, seen: Iterable[Memory]) -> Memory:
        """The one with the most of its own."""
        return max(seen, default=cls())


def cpu_seconds(process: psutil.Process) -> float:
    """User and system time of `process`, of everything below it, and of those of them that have ended."""
    return sum(sum(each.cpu_times()[:4]) for each in (process, *process.children(recursive=True)))


def _memory(pid: int) -> Memory:
    with suppress(OSError, psutil.NoSuchProcess):  # they come and go
        if not IS_SHARED_OUT:
            return Memory(own=psutil.Process(pid).memory_info().rss)
        lines = Path(_ROLLUP.format(pid)).read_text().splitlines()[1:]
        kilobytes = {key: int(rest.split()[0]) for key, _, rest in (line.partition(":") for line in lines)}
        return Memory(
            own=(kilobytes["Pss"] - kilobytes["Pss_File"]) * 1024, files=kilobytes["Pss_File"] * 1024
        )
    return Memory()
