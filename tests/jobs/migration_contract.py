"""What every database must give whoever opens one of an earlier, or of a later, dmapsvc."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations

from dmapsvc.errors import BadInput
from dmapsvc.jobs import State
from dmapsvc.jobs.database import open_database
from dmapsvc.jobs.engine import Jobs
from dmapsvc.jobs.migrations.version import VERSION_TABLE
from dmapsvc.jobs.migrations.versions import r0001_runs
from dmapsvc.jobs.table import metadata
from dmapsvc.settings import Settings
from tests.jobs.asking import request


def open_bare(settings: Settings) -> sa.Engine:
    """The database without any tables of ours."""
    url = sa.make_url(settings.sqlalchemy_url)
    return sa.create_engine(url.set(drivername="postgresql+psycopg") if "postgres" in url.drivername else url)


class MigrationContract:
    """Inherit it and give the fixture `unmade`, for a database that has no tables yet."""

    def test_the_revisions_make_the_tables_that_the_code_knows(self, unmade: Settings) -> None:
        engine = open_database(unmade)
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"include_object": _is_ours})
            assert compare_metadata(context, metadata) == []
        engine.dispose()

    def test_a_database_made_before_there_were_revisions_keeps_its_runs(self, unmade: Settings) -> None:
        unmade.data.mkdir(exist_ok=True)
        asked = request(unmade)
        bare = open_bare(unmade)
        with bare.begin() as connection, Operations.context(MigrationContext.configure(connection)):
            r0001_runs.upgrade()
            old = sa.Table("dmapsvc_runs", sa.MetaData(), autoload_with=connection)
            connection.execute(sa.insert(old), {**_old_row(asked.id), "request": asked.to_json()})
        bare.dispose()
        with Jobs(unmade) as jobs:
            job = jobs.get(asked.id)
            assert (job.case, job.state, job.position) == (asked.case, State.QUEUED, 1)
            later, _ = jobs.submit(request(unmade, "b"))
            assert later.position == 2
        with Jobs(unmade) as jobs:  # and once more, when nothing is left to do
            assert jobs.get(later.id) == later

    def test_a_database_of_a_later_version_is_refused(self, unmade: Settings) -> None:
        with Jobs(unmade):
            bare = open_bare(unmade)
            with bare.begin() as connection:
                connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = 'later'")
            bare.dispose()
        with pytest.raises(BadInput, match="revision later"):
            Jobs(unmade)


def _is_ours(thing: object, name: str | None, kind: str, *others: object) -> bool:
    return kind != "table" or ("dmapsvc" in str(name) and name != VERSION_TABLE)


def _old_row(job: str) -> dict[str, object]:
    return {
        "run": f"{job}.1",
        "job": job,
        "n": 1,
        "latest": True,
        "kind": "mask",
        "dataset": "knees",
        "case_name": "a",
        "revision": 1,
        "state": "queued",
        "stopping": False,
        "alone": False,
        "deaths": 0,
        "attempts": 0,
        "percent": 0.0,
        "created": 1.0,
    }
