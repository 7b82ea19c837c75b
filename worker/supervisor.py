"""The parent: starts the process that runs jobs, starts it again when it dies, and tells it to stop.

A job that takes its process down (memory, a crash in native code) takes nothing else with it. The parent is
light: it imports nothing that computes.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time

from dmapsvc.settings import Settings
from dmapsvc.superuser import warn_superuser

CANNOT_START = 2  # exit code of a child that starting again would not help

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0  # seconds between a death and the next start; doubled each time
_HEALTHY = 30.0  # seconds after which a child's death counts as the first again
_PATIENCE = 15.0  # seconds that a child has to stop
_LOOK = 0.1  # seconds between looks at the child

_log = logging.getLogger("worker")


def supervise(settings: Settings) -> int:
    """Keep a child running until SIGTERM or SIGINT; the exit code."""
    warn_superuser(_log)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    pause = _FIRST_PAUSE
    while not stop.is_set():
        began = time.monotonic()
        child = _start(settings)
        while child.poll() is None and not stop.wait(_LOOK):
            pass
        if stop.is_set():
            _end(child)
        elif child.returncode == CANNOT_START:
            return CANNOT_START
        else:
            pause = _FIRST_PAUSE if time.monotonic() - began > _HEALTHY else min(2 * pause, _LONGEST_PAUSE)
            _log.warning("the process that runs jobs ended (%d); starting it again", child.returncode)
            stop.wait(pause)
    return 0


def _start(settings: Settings) -> subprocess.Popen[str]:
    """A child, told its settings by a pipe; that closing, however this process ends, tells it to stop."""
    child = subprocess.Popen([sys.executable, "-m", "worker.child"], stdin=subprocess.PIPE, text=True)
    assert child.stdin is not None
    try:
        child.stdin.write(f"{settings.model_dump_json()}\n")
        child.stdin.flush()
    except BrokenPipeError:
        _log.warning("the process that runs jobs died at once")
    return child


def _end(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.close()
    try:
        child.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        _log.warning("the process that runs jobs does not stop; it is killed")
        child.kill()
        child.wait()
