"""The queue's database: SQLite in the data folder, or Postgres by its URL; opened, made and migrated here.

Any number of processes may open it at once, the first of them makes the tables, or changes those of an
earlier version. What the tables hold is in `table.py`, how they came to be in `migrations`.
"""

from __future__ import annotations

import fcntl
import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import sqlalchemy as sa
from dbos import DBOS, DBOSPortableJSONSerializer

from dmapsvc.errors import BadInput, DatabaseAway
from dmapsvc.jobs.migrations.version import upgrade
from dmapsvc.settings import Settings

APPLICATION = "dmapsvc"
VERSION = "1"  # of the engine's workflow; fixed, or jobs accepted before an upgrade would never be taken
QUEUE = "runs"
SERIALIZER = DBOSPortableJSONSerializer()  # the engine's default is pickle

_ACCEPTING = 0x646D6170  # key of the advisory lock under which Postgres accepts jobs, one at a time
_TCP = {  # so that a connection that was cut off fails within seconds; the kernel's own limits are minutes
    "connect_timeout": 10,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # ms
}
_OLDEST = (14,)  # Postgres; has idle_session_timeout
_FORGOTTEN = "30s"  # after which the server ends a transaction whose host says nothing; it may hold locks
_SUBSEC = (3, 42)  # SQLite; knows unixepoch('subsec')
_NETWORK = (
    "nfs",
    "cifs",
    "smb",
    "fuse.sshfs",
    "lustre",
    "beegfs",
    "glusterfs",
    "fuse.glusterfs",
    "ceph",
    "gpfs",
)

logging.getLogger("dbos").setLevel(logging.WARNING)


def open_database(settings: Settings) -> sa.Engine:
    """The database of `settings`, made and migrated.

    Raises BadInput for a URL that is neither SQLite's nor Postgres's, for SQLite on a network disk, and for
    tables that a later dmapsvc has changed; DatabaseAway if it does not answer.
    """
    url = _checked_url(settings)
    engine = _engine(url)
    if url.get_backend_name() != "sqlite":
        _open_server(engine, url)
        return engine
    path = Path(url.database or "")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _file_lock(path.with_name(f"{path.name}.lock")):
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        _make_tables(engine, url)
    return engine


def relaxed(engine: sa.Engine) -> sa.Engine:
    """The same database, with commits that do not wait for the disk: for what a power cut may take back.

    The last of them are lost then, never some in the middle, and none that came before a commit through
    `engine` itself.
    """
    other = _engine(engine.url)
    hasten = _hasten_sqlite if engine.dialect.name == "sqlite" else _hasten_postgres
    sa.event.listen(other, "connect", hasten)
    return other


def check_database(settings: Settings) -> None:
    """Raise BadInput if the database of `settings` cannot be used; opens nothing."""
    _checked_url(settings)


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that is alone among those that `writing` gives: one at a time, over all processes.

    Postgres keeps nobody else out, so whatever accepts, stops, or puts a run back into the queue must use it.
    What a worker does meanwhile to its own runs, to begin, get on and end, is one statement that asks first.
    """
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ACCEPTING)))
        yield connection


def _engine(url: sa.URL) -> sa.Engine:
    if url.get_backend_name() == "sqlite":
        engine = sa.create_engine(url, pool_size=10)
        sa.event.listen(engine, "connect", _configure_sqlite)
        return engine
    limits = {name: value for name, value in _TCP.items() if name not in url.query}
    engine = sa.create_engine(url, pool_pre_ping=True, pool_size=10, connect_args=limits)
    sa.event.listen(engine, "connect", _configure_postgres)
    return engine


def _checked_url(settings: Settings) -> sa.URL:
    wanted = "wanted sqlite:///<file> or postgresql://<user>@<host>/<database>"
    try:
        url = sa.make_url(settings.sqlalchemy_url)
    except sa.exc.ArgumentError:
        raise BadInput("DMAPSVC_DATABASE_URL is no URL", wanted) from None
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() != "sqlite" or not url.database:
        raise BadInput(f"DMAPSVC_DATABASE_URL names {url.drivername}", wanted)
    _check_local(Path(url.database))
    return url


def _open_server(engine: sa.Engine, url: sa.URL) -> None:
    """Make or change the tables in Postgres; raises BadInput for one that is too old, DatabaseAway."""
    try:
        engine.connect().close()
        _check_version(engine)
        _make_tables(engine, url)
    except sa.exc.OperationalError as error:
        raise DatabaseAway(
            f"the queue's database does not answer: {str(error.orig).splitlines()[0]}",
            remedy="See that it runs, and that DMAPSVC_DATABASE_URL is right",
        ) from None


def _check_version(engine: sa.Engine) -> None:
    version = engine.dialect.server_version_info or ()
    if version < _OLDEST:
        raise BadInput(
            f"the queue's database is Postgres {version[0]}",
            f"wanted {_OLDEST[0]} or newer, which ends the sessions of workers that are cut off",
        )


def _check_local(path: Path) -> None:
    """Raise BadInput if `path` lies on a network file system, where SQLite's locks do not hold."""
    system = _file_system(path.absolute())
    if system.startswith(_NETWORK):
        raise BadInput(
            f"{path} lies on a network file system ({system})",
            "SQLite's locks hold on a local disk only",
            "Put DMAPSVC_DATA on a local disk, or name a Postgres database with DMAPSVC_DATABASE_URL",
        )


def _file_system(path: Path) -> str:
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    resolved = path.resolve()
    return next((mounts[folder] for folder in (resolved, *resolved.parents) if folder in mounts), "")


def _make_tables(engine: sa.Engine, url: sa.URL) -> None:
    DBOS.migrate(url.set(drivername=url.get_backend_name()).render_as_string(hide_password=False))
    with writing(engine) as connection:
        upgrade(connection)


def _configure_postgres(connection: sa.engine.interfaces.DBAPIConnection, record: object) -> None:
    connection.cursor().execute(f"SET idle_in_transaction_session_timeout = '{_FORGOTTEN}'")
    connection.commit()


def _configure_sqlite(connection: sa.engine.interfaces.DBAPIConnection, record: object) -> None:
    connection.isolation_level = "IMMEDIATE"  # a write that waits its turn instead of failing
    connection.execute("PRAGMA busy_timeout=30000")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=FULL")  # a commit is on disk
    if sqlite3.sqlite_version_info < _SUBSEC:  # the engine takes it for granted from Python 3.12 on
        connection.create_function("unixepoch", 1, _seconds_now)


def _seconds_now(_: str) -> float:
    """Seconds since 1970 UTC, to the millisecond: what SQLite's unixepoch('subsec') gives."""
    return round(time.time(), 3)


def _hasten_postgres(connection: sa.engine.interfaces.DBAPIConnection, record: object) -> None:
    connection.cursor().execute("SET synchronous_commit = off")
    connection.commit()


def _hasten_sqlite(connection: sa.engine.interfaces.DBAPIConnection, record: object) -> None:
    connection.execute("PRAGMA synchronous=NORMAL")


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
