"""The queue of a test, over whatever database its `settings` name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from dmapsvc.jobs.database import open_database
from dmapsvc.jobs.engine import Jobs
from dmapsvc.settings import Settings

pytest.register_assert_rewrite(
    "tests.jobs.queue_contract",
    "tests.jobs.batch_contract",
    "tests.jobs.work_contract",
    "tests.jobs.workers_contract",
    "tests.jobs.migration_contract",
    "tests.jobs.durability_contract",
)


@pytest.fixture
def database(settings: Settings) -> Iterator[sa.Engine]:
    """The database under the queue."""
    engine = open_database(settings)
    yield engine
    engine.dispose()


@pytest.fixture
def jobs(settings: Settings) -> Iterator[Jobs]:
    """The queue, closed at the end of the test."""
    with Jobs(settings) as jobs:
        yield jobs
