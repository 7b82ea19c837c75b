"""The workers of the service, as they tell of themselves every few seconds.

A row is for those who look; whether a worker lives is decided by its lock alone (`locks`). `seen` is by the
database's clock, so that the clocks of machines do not matter.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version

import sqlalchemy as sa

from dmapsvc.jobs.ledger import HICCUPS
from dmapsvc.jobs.record import Device, State, Worker
from dmapsvc.jobs.table import Row, runs, workers

BEAT = 5.0  # seconds between two beats; a second would be a commit more each second for every idle worker
SILENT = 4 * BEAT  # seconds after which a worker counts as away


class Heartbeat:
    """Tells of the worker `executor` and its `device`, which is asked each time."""

    def __init__(
        self, engine: sa.Engine, executor: str, *, concurrency: int, device: Callable[[], Device]
    ) -> None:
        self._engine = engine
        self._executor = executor
        self._device = device
        self._last: float | None = None
        self._row = {
            "executor": executor,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": version("dmapsvc"),
            "concurrency": concurrency,
        }

    def beat(self) -> None:
        """Tell, unless the last time was a moment ago."""
        if self._last is not None and time.monotonic() - self._last < BEAT:
            return
        device = self._device()
        now = {"seen": _now(self._engine.dialect), "memory_used": device.memory_used}
        mine = workers.c.executor == self._executor
        with self._engine.begin() as connection:
            if not connection.execute(sa.update(workers).where(mine).values(now)).rowcount:
                said = {"backend": device.backend, "device": device.name, "memory_total": device.memory_total}
                connection.execute(
                    sa.insert(workers).values({**self._row, **said, **now, "started": now["seen"]})
                )
        self._last = time.monotonic()

    def end(self) -> None:
        """Tell that it is over, if the database takes it; else another worker finds out."""
        with contextlib.suppress(*HICCUPS):
            remove_worker(self._engine, self._executor)


def list_workers(connection: sa.Connection) -> list[Worker]:
    """The workers that live, or died a moment ago, the longest-serving first."""
    having = (
        sa.select(runs.c.executor, sa.func.count().label("running"))
        .where(runs.c.state == State.RUNNING)
        .group_by(runs.c.executor)
        .subquery()
    )
    silence = (_now(connection.dialect) - workers.c.seen).label("silence")
    query = (
        sa.select(workers, silence, sa.func.coalesce(having.c.running, 0).label("running"))
        .outerjoin(having, having.c.executor == workers.c.executor)
        .order_by(workers.c.started, workers.c.executor)
    )
    return [_worker(row) for row in connection.execute(query)]


def silent_workers(engine: sa.Engine) -> set[str]:
    """Those that have not told of themselves for some seconds: dead, or cut off."""
    late = workers.c.seen < _now(engine.dialect) - SILENT
    with engine.connect() as connection:
        return set(connection.execute(sa.select(workers.c.executor).where(late)).scalars())


def remove_worker(engine: sa.Engine, executor: str) -> None:
    """Forget a worker that has ended."""
    with engine.begin() as connection:
        connection.execute(sa.delete(workers).where(workers.c.executor == executor))


def _now(dialect: sa.Dialect) -> sa.ColumnElement[float]:
    """Seconds since 1970 by the database's clock; SQLite's is this machine's."""
    if dialect.name == "sqlite":
        return sa.literal(time.time())
    return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Float)


def _worker(row: Row) -> Worker:
    return Worker(
        id=row.executor,
        host=row.host,
        pid=row.pid,
        version=row.version,
        backend=row.backend,
        device=row.device,
        concurrency=row.concurrency,
        running=row.running,
        memory_used=row.memory_used,
        memory_total=row.memory_total,
        started=datetime.fromtimestamp(row.started, UTC),
        seen=datetime.fromtimestamp(row.seen, UTC),
        away=row.silence > SILENT,
    )
