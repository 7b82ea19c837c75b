"""The queue in SQLite, the default."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from dmapsvc.errors import BadInput
from dmapsvc.jobs.database import check_database, open_database
from dmapsvc.jobs.engine import Jobs
from dmapsvc.settings import Settings
from tests.jobs.asking import fast, request
from tests.jobs.batch_contract import BatchContract
from tests.jobs.durability_contract import DurabilityContract
from tests.jobs.migration_contract import MigrationContract
from tests.jobs.queue_contract import QueueContract
from tests.jobs.work_contract import DeathContract, WorkContract
from tests.jobs.workers_contract import WorkersContract


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return fast(tmp_path)


@pytest.fixture
def unmade(settings: Settings) -> Settings:
    return settings


class TestSqliteQueue(QueueContract):
    pass


class TestSqliteBatches(BatchContract):
    pass


class TestSqliteMigrations(MigrationContract):
    pass


class TestSqliteDurability(DurabilityContract):
    pass


class TestSqliteWork(WorkContract):
    @pytest.fixture(scope="class")
    @classmethod
    def settings(cls, tmp_path_factory: pytest.TempPathFactory) -> Settings:
        return fast(tmp_path_factory.mktemp("work"))


class TestSqliteDeath(DeathContract):
    pass


class TestSqliteWorkers(WorkersContract):
    pass


def test_readers_do_not_wait_for_writers(settings: Settings) -> None:
    with Jobs(settings) as jobs:
        job, _ = jobs.submit(request(settings))
        writer = sqlite3.connect(settings.data / "jobs.sqlite", isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE dmapsvc_runs SET percent = 50")
        assert jobs.get(job.id).percent == 0.0
        writer.close()


def test_the_clock_that_the_engine_takes_for_granted_is_there(settings: Settings) -> None:
    engine = open_database(settings)
    before = time.time()
    with engine.connect() as connection:
        seconds = connection.exec_driver_sql("SELECT unixepoch('subsec')").scalar_one()
    engine.dispose()
    assert seconds == pytest.approx(before, abs=60)


def test_nothing_pickled_is_in_the_database(settings: Settings) -> None:
    with Jobs(settings) as jobs:
        job, _ = jobs.submit(request(settings))
    with sqlite3.connect(settings.data / "jobs.sqlite") as connection:
        (inputs,) = connection.execute("SELECT inputs FROM workflow_input").fetchone()
    assert json.loads(inputs) == {"positionalArgs": [f"{job.id}.1"], "namedArgs": {}}


def test_a_network_file_system_is_refused_and_postgres_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = SimpleNamespace(mountpoint=str(settings.data), fstype="nfs4")
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: [mount])
    for use in (check_database, Jobs):
        with pytest.raises(BadInput, match=r"nfs4.*Postgres"):
            use(settings)
    assert not list(settings.data.iterdir())


@pytest.mark.parametrize("url", ["mysql://host/x", "sqlite://", "nonsense"])
def test_a_database_that_cannot_be_used_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(BadInput, match="DMAPSVC_DATABASE_URL"):
        Jobs(Settings(data=tmp_path, database_url=url))
