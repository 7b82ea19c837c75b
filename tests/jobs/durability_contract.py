"""What waits for the disk and what does not, over whatever database the fixture `settings` names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from dmapsvc.errors import NotFound
from dmapsvc.jobs import State
from dmapsvc.jobs.database import relaxed
from dmapsvc.jobs.engine import Jobs
from dmapsvc.jobs.ledger import Ledger
from dmapsvc.settings import Settings
from tests.jobs.asking import request

WAITS = {"sqlite": "2", "postgresql": "on"}  # what the databases call it
DOES_NOT_WAIT = {"sqlite": "1", "postgresql": "off"}


def waiting(connection: sa.Connection) -> str:
    """What the connection says of waiting for the disk."""
    sqlite = connection.dialect.name == "sqlite"
    question = "PRAGMA synchronous" if sqlite else "SHOW synchronous_commit"
    return str(connection.exec_driver_sql(question).scalar_one())


class DurabilityContract:
    @pytest.fixture
    def hasty(self, database: sa.Engine) -> Iterator[sa.Engine]:
        engine = relaxed(database)
        yield engine
        engine.dispose()

    def test_a_commit_waits_for_the_disk_unless_it_is_relaxed(
        self, database: sa.Engine, hasty: sa.Engine
    ) -> None:
        with database.connect() as safe, hasty.connect() as swift:
            assert waiting(safe) == WAITS[database.dialect.name]
            assert waiting(swift) == DOES_NOT_WAIT[database.dialect.name]

    def test_beginning_and_end_are_on_disk_and_progress_need_not_be(
        self, jobs: Jobs, settings: Settings, database: sa.Engine, hasty: sa.Engine
    ) -> None:
        committed: list[str] = []
        for engine in (database, hasty):
            sa.event.listen(engine, "commit", lambda connection: committed.append(waiting(connection)))
        name = database.dialect.name
        ledger = Ledger(database, "me", relaxed=hasty)
        run = f"{jobs.submit(request(settings))[0].id}.1"
        assert ledger.begin(run)
        assert committed == [WAITS[name]]  # or a job that takes the machine down would never count
        assert ledger.tell(run, "map", 50.0)
        assert committed[1:] == [DOES_NOT_WAIT[name]]
        assert ledger.done(run, {"notes": [], "seconds": {}, "backend": None})
        assert committed[2:] == [WAITS[name]]

    def test_a_failure_is_on_disk(
        self, jobs: Jobs, settings: Settings, database: sa.Engine, hasty: sa.Engine
    ) -> None:
        ledger = Ledger(database, "me", relaxed=hasty)
        job = jobs.submit(request(settings))[0]
        sa.event.listen(hasty, "commit", lambda connection: pytest.fail("a failure does not wait"))
        assert ledger.refused(f"{job.id}.1", NotFound("it").problem, keep_upload=False)
        assert jobs.get(job.id).state is State.FAILED
