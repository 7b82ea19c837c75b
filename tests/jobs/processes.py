"""Fake workers as processes, and waiting for what they do."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from dmapsvc.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0

T = TypeVar("T")


class Worker:
    """A process of `fake_worker`; what it says is in `<data>/worker.log`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.log = settings.data / "worker.log"
        self._start()

    def _start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.jobs.fake_worker"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
            )
        assert self.process.stdin is not None
        self.process.stdin.write(f"{self._settings.model_dump_json()}\n")
        self.process.stdin.flush()

    def stop(self) -> int:
        """Tell it to stop; its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def restart_whenever_dead(self, until: Callable[[], bool]) -> None:
        """Do what a supervisor does, until `until()`."""
        end = time.monotonic() + PATIENCE
        while not until():
            assert time.monotonic() < end, self.log.read_text()
            if self.process.poll() is not None:
                self._start()
            time.sleep(0.05)


@contextmanager
def worker(settings: Settings) -> Iterator[Worker]:
    """A fake worker for the block."""
    running = Worker(settings)
    try:
        yield running
    finally:
        running.kill()


def eventually(look: Callable[[], T]) -> T:
    """The first true answer of `look`."""
    end = time.monotonic() + PATIENCE
    while not (answer := look()):
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)
    return answer


def lines(settings: Settings, name: str) -> list[str]:
    """What the fake work noted under `name`."""
    file = settings.data / "seen" / name
    return file.read_text().splitlines() if file.exists() else []


def release(settings: Settings, *cases: str) -> None:
    """Let the held jobs of these cases go on."""
    for case in cases:
        (settings.data / "seen" / f"{case}.release").touch()
