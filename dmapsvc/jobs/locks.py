"""The lock by which an executor shows that it lives: a file's on one machine, the database's on many.

Whoever can take the lock of another executor knows that it is dead, and gives its runs to others. An id is
used once, by one process.

**With SQLite** the lock is the kernel's (`flock`): it is gone when the process is, and never before. A worker
that stands still keeps its lock; its watchdog ends it.

**With Postgres** it is an advisory lock of a session of its own. The server drops it when the process dies,
for its connection closes; and when the host is cut off, because a session that has asked nothing for
`DMAPSVC_LEASE_SECONDS` is ended (`idle_session_timeout`), whatever the network still pretends. The worker
asks all the time, and ends itself when two thirds of that time have passed without an answer
(`watchdog.py`): before another can have its lock. Both count from the last question that was answered, so the
clocks of the machines need not agree, only run at about the same speed.

What this does not cover: a server that ends the session at once (a restart, an administrator) frees the lock
before the worker can know, and a machine that is frozen and thawed may run for a moment before the worker
looks at the clock. Then a run may be worked on twice for a second. It is published once all the same: right
before it is renamed in, inside the case's own lock, a run asks the database whether it is still the one that
is wanted, and the answer is no as soon as another worker has taken it over. No pooler in transaction mode may
stand before the database: it would share the session.
"""

from __future__ import annotations

import fcntl
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO

import sqlalchemy as sa


class Lock(ABC):
    """A lock that is held until it is released, or its process dies.

    `patience`: seconds without an answer from `holds` after which its process must end; None for never.
    """

    patience: float | None = None

    @abstractmethod
    def holds(self) -> bool:
        """Whether it is still held; may block."""

    @abstractmethod
    def release(self) -> None:
        """Give it up, for good."""


def take_lock(name: str, engine: sa.Engine, folder: Path, *, lease: float | None = None) -> Lock | None:
    """The lock `name`, or None while another process holds it; files of locks are in `folder`.

    With a `lease` in seconds, a lock in Postgres is lost when it was not asked after for so long.
    """
    if engine.dialect.name == "sqlite":
        return _take_file(folder / f"{name}.lock")
    return _take_advisory(name, engine, lease)


class _FileLock(Lock):
    def __init__(self, path: Path, file: IO[str]) -> None:
        self._path, self._file = path, file

    def holds(self) -> bool:
        return True  # the kernel takes it from a dead process only

    def release(self) -> None:
        self._path.unlink(missing_ok=True)
        self._file.close()


class _AdvisoryLock(Lock):
    def __init__(self, session: sa.Connection, lease: float | None) -> None:
        self._session = session
        self.patience = None if lease is None else 2 * lease / 3

    def holds(self) -> bool:
        try:
            self._session.execute(sa.select(1))
        except sa.exc.DBAPIError:
            return False
        return True

    def release(self) -> None:
        self._session.close()


def _take_file(path: Path) -> Lock | None:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return _FileLock(path, file)


def _take_advisory(name: str, engine: sa.Engine, lease: float | None) -> Lock | None:
    session = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    key = sa.func.hashtextextended(f"dmapsvc executor {name}", 0)
    taken = sa.case((sa.func.pg_try_advisory_lock(key), _limited(lease)), else_=sa.false())
    if not session.execute(sa.select(taken)).scalar_one():  # one statement: never held without its limits
        session.close()
        return None
    session.detach()  # from the pool, so that closing it ends the session, and the lock with it
    return _AdvisoryLock(session, lease)


def _limited(lease: float | None) -> sa.ColumnElement[bool]:
    """True, once the session has been given the limits of a lease in seconds."""
    limits = () if lease is None else ("idle_session_timeout", "statement_timeout")
    given = (sa.func.set_config(limit, f"{1000 * (lease or 0):.0f}", False) for limit in limits)
    return sa.and_(sa.true(), *(value.is_not(None) for value in given))
