"""What the processes of the tests do; functions of a module, so that a new process finds them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dmapsvc.errors import BadInput, Diverged

WAIT = 60.0  # seconds that a task waits to be stopped, at most


def act(task: tuple[str, Path], tell: Callable[[Any], None]) -> None:
    """Do what the task's first word says, in the folder that is its second."""
    word, folder = task
    print(f"{word} prints")
    {
        "well": _well,
        "raises": _raises,
        "diverges": _diverges,
        "full": _full,
        "killed": _killed,
        "exits": lambda folder, tell: os._exit(7),
        "long": _long,
    }[word](folder, tell)


def _well(folder: Path, tell: Callable[[Any], None]) -> None:
    began = time.monotonic()
    tell(("pid", os.getpid()))
    time.sleep(0.2)
    tell(("span", began, time.monotonic()))


def _raises(folder: Path, tell: Callable[[Any], None]) -> None:
    raise ValueError("no such luck")


def _diverges(folder: Path, tell: Callable[[Any], None]) -> None:
    raise Diverged("the loss is nan", "a finite loss is needed")


def _full(folder: Path, tell: Callable[[Any], None]) -> None:
    raise BadInput("last.pt: no space left on the disk")


def _killed(folder: Path, tell: Callable[[Any], None]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _long(folder: Path, tell: Callable[[Any], None]) -> None:
    """Wait to be stopped, and say in a file how often that was asked."""
    try:
        tell("waiting")  # the end may come as soon as this is heard
        time.sleep(WAIT)
    except KeyboardInterrupt:
        try:
            time.sleep(0.5)  # as a checkpoint is written; a second Ctrl-C would cut it off
            (folder / f"saved-{os.getpid()}").touch()
        except KeyboardInterrupt:
            (folder / "twice").touch()
        raise
