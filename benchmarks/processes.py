"""A command measured from outside, as a user runs it: seconds, CPU seconds, memory of all its processes.

Contenders that are functions are measured in `timing.py`.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

_EVERY = 0.05  # seconds between two looks at the memory: a look costs about a millisecond


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a command took, with every process that it started.

    `cpu_seconds`: user and system, of all processes. `peak_bytes`: the largest sum of their resident memory
    that was seen, looking every 50 ms; memory that they share counts in each.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def run(command: Sequence[str]) -> Usage:
    """Run `command` to its end. Raises RuntimeError, with the last words of it, if it fails."""
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        watched, peak = psutil.Process(process.pid), 0
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            peak = max(peak, _resident(watched))
            time.sleep(_EVERY)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            words = output.read()[-2000:].decode(errors="replace")
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {words}")
    return Usage(seconds=seconds, cpu_seconds=usage.ru_utime + usage.ru_stime, peak_bytes=peak)


def _resident(process: psutil.Process) -> int:
    total = 0
    with suppress(psutil.NoSuchProcess):  # they come and go
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += each.memory_info().rss
    return total
