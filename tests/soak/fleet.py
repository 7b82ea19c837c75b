"""A service of several API and worker processes over one folder and one database, to be killed at random."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import psutil

from demo.service import PATIENCE, Part, Service


class Member(Service):
    """One process of the fleet, or for a worker two: the parent and the child that runs jobs."""

    def __init__(self, data: Path, part: Part, number: int, **settings: object) -> None:
        self.part: Part = part
        self.name = f"{part}-{number}"
        given = {key: value for key, value in settings.items() if value is not None}
        super().__init__(data, (part,), **given)

    def _log(self, part: Part) -> Path:
        return self.data / f"{self.name}.log"

    def victims(self) -> list[psutil.Process]:
        """The processes of this member that live."""
        with contextlib.suppress(psutil.NoSuchProcess, KeyError):  # it is being started again
            parent = psutil.Process(self.process(self.part).pid)
            return [parent, *parent.children(recursive=True)]
        return []

    def is_ready(self) -> bool:
        """Whether this worker has begun to take jobs."""
        return "ready: backend" in self.log(self.part)


class Fleet:
    """`apis` replicas of the API and `workers` workers; a context manager. Who dies is started again."""

    def __init__(self, data: Path, *, apis: int, workers: int, seed: int, **settings: object) -> None:
        self.members = [
            *(Member(data, "api", number, **settings) for number in range(apis)),
            *(Member(data, "worker", number, **settings) for number in range(workers)),
        ]
        self.killed: Counter[str] = Counter()
        self.start_seconds = 0.0
        self._random = random.Random(seed)
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep_alive, daemon=True)

    def __enter__(self) -> Fleet:
        with contextlib.ExitStack() as started:
            for member in self.members:
                began = time.monotonic()
                started.enter_context(member)
                if member.part == "worker":
                    await_true(member.is_ready)
                    self.start_seconds = time.monotonic() - began  # the last one's: the first may compile
            started.pop_all()
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._keeper.join()
        for member in self.members:
            member.close()

    @property
    def urls(self) -> list[str]:
        """Where the replicas of the API answer; the same after a restart."""
        return [member.url for member in self.members if member.part == "api"]

    def kill_one(self) -> None:
        """End a random process by SIGKILL, be it an API, a worker's parent or its child."""
        for member in self._random.sample(self.members, len(self.members)):
            if victims := member.victims():
                place = self._random.randrange(len(victims))
                with contextlib.suppress(psutil.NoSuchProcess):
                    victims[place].send_signal(signal.SIGKILL)
                    kind = ("parent", "child")[min(place, 1)]
                    self.killed[member.part if member.part == "api" else f"worker's {kind}"] += 1
                    return

    def _keep_alive(self) -> None:
        """Start again whoever has ended, as systemd does."""
        while not self._over.wait(0.1):
            for member in self.members:
                if member.process(member.part).poll() is not None:
                    member.kill9(member.part)
                    with contextlib.suppress(RuntimeError):  # the database is away; tried again
                        member.start(member.part)


def await_true(look: Callable[[], bool], seconds: float = 10 * PATIENCE) -> None:
    """Wait until `look()` is true."""
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def say(words: str) -> None:
    """A line of a long run's figures."""
    print(f"{time.strftime('%H:%M:%S')} [{os.getpid()}] {words}", file=sys.stderr, flush=True)
