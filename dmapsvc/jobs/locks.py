"""The lock by which an executor shows that it lives: a file's on one machine, the database's on many.

Whoever can take the lock of another executor knows that it is dead. An id is used once, by one process.
"""

from __future__ import annotations

import fcntl
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO

import sqlalchemy as sa


class Lock(ABC):
    """A lock that is held until it is released, or its process dies."""

    @abstractmethod
    def holds(self) -> bool:
        """Whether it is still held; a worker whose lock is lost must exit."""

    @abstractmethod
    def release(self) -> None:
        """Give it up, for good."""


def take_lock(executor: str, engine: sa.Engine, folder: Path) -> Lock | None:
    """The lock of `executor`, or None while another process holds it.

    With SQLite all workers are on one machine and the lock is a file in `folder`; with Postgres it is an
    advisory lock of a session of its own, which no pooler in transaction mode may stand before.
    """
    if engine.dialect.name == "sqlite":
        return _take_file(folder / f"{executor}.lock")
    return _take_advisory(executor, engine)


class _FileLock(Lock):
    def __init__(self, path: Path, file: IO[str]) -> None:
        self._path, self._file = path, file

    def holds(self) -> bool:
        return True  # the kernel takes it from a dead process only

    def release(self) -> None:
        self._path.unlink(missing_ok=True)
        self._file.close()


class _AdvisoryLock(Lock):
    def __init__(self, session: sa.Connection) -> None:
        self._session = session

    def holds(self) -> bool:
        try:
            self._session.execute(sa.select(1))
        except sa.exc.DBAPIError:
            return False
        return True

    def release(self) -> None:
        self._session.detach()  # so that closing it ends the session, and the lock with it
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


def _take_advisory(executor: str, engine: sa.Engine) -> Lock | None:
    session = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    key = sa.func.hashtextextended(f"dmapsvc executor {executor}", 0)
    if session.execute(sa.select(sa.func.pg_try_advisory_lock(key))).scalar_one():
        return _AdvisoryLock(session)
    session.close()
    return None
