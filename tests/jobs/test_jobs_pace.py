"""How often workers ask for work, as it lies with the engine's queue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from dbos import DBOSClient, Queue

from dmapsvc.jobs.database import APPLICATION, QUEUE, SERIALIZER
from dmapsvc.jobs.engine import Jobs
from dmapsvc.jobs.pace import Pace
from dmapsvc.settings import Settings
from tests.jobs.asking import fast, insert_batch, request


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return fast(tmp_path)


@pytest.fixture
def queue(database: sa.Engine) -> Iterator[Queue]:
    client = DBOSClient(system_database_engine=database, serializer=SERIALIZER, application_name=APPLICATION)
    yield client.register_queue(QUEUE, worker_concurrency=2, polling_interval_sec=0.8)
    client.destroy()


def test_a_line_is_asked_for_often_and_none_seldom(
    settings: Settings, jobs: Jobs, database: sa.Engine, queue: Queue
) -> None:
    pace = Pace(database, queue, 0.8)
    insert_batch(database, [request(settings, f"case{number}") for number in range(16)])
    pace.keep()
    assert queue.polling_interval_sec == 0.8
    jobs.submit(request(settings, "one-more"))
    pace.keep()
    assert queue.polling_interval_sec == pytest.approx(0.1)
    jobs.forget("knees")
    pace.keep()
    assert queue.polling_interval_sec == 0.8


def test_the_pace_that_a_worker_set_back_is_put_right_by_another(
    settings: Settings, database: sa.Engine, queue: Queue
) -> None:
    insert_batch(database, [request(settings, f"case{number}") for number in range(17)])
    pace = Pace(database, queue, 0.8)
    pace.keep()
    queue.set_polling_interval_sec(0.8)  # as a worker that starts does, and this one dies of it
    pace.keep()
    assert queue.polling_interval_sec == pytest.approx(0.1)


def test_a_pace_that_is_right_is_not_written_again(
    settings: Settings, database: sa.Engine, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_batch(database, [request(settings, f"case{number}") for number in range(17)])
    pace = Pace(database, queue, 0.8)
    pace.keep()
    monkeypatch.setattr(Queue, "set_polling_interval_sec", lambda *_: pytest.fail("was written"))
    pace.keep()
