"""A worker that was taken for dead, and is not: what it says late changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from dmapsvc.errors import Superseded
from dmapsvc.jobs import Job, State
from dmapsvc.jobs.engine import Jobs
from dmapsvc.jobs.ledger import Ledger
from dmapsvc.jobs.locks import take_lock
from dmapsvc.settings import Settings
from tests.jobs.asking import request


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path)


def late_words(ledger: Ledger, job: Job) -> list[bool]:
    run, problem = f"{job.id}.1", Superseded("late").problem
    return [
        ledger.wanted(run),
        ledger.tell(run, "map", 50.0),
        ledger.done(run, {}),
        ledger.superseded(run, problem),
        ledger.failed(run, problem, keep_upload=False),
        ledger.lost(run, problem, attempts=1),
    ]


def test_a_late_word_changes_nothing(jobs: Jobs, settings: Settings, database: sa.Engine) -> None:
    old, new = Ledger(database, "old"), Ledger(database, "new")
    job, _ = jobs.submit(request(settings))
    assert old.begin(f"{job.id}.1")
    assert old.wanted(f"{job.id}.1")
    assert not new.bury("old", attempts=3)
    assert late_words(old, job) == [False] * 6
    assert jobs.get(job.id).state is State.QUEUED
    assert new.begin(f"{job.id}.1")
    assert late_words(old, job) == [False] * 6
    assert jobs.get(job.id).state is State.RUNNING
    assert new.done(f"{job.id}.1", {})
    assert jobs.get(job.id).state is State.DONE
    assert not new.begin(f"{job.id}.1")


def test_burying_twice_counts_one_death(jobs: Jobs, settings: Settings, database: sa.Engine) -> None:
    ledger = Ledger(database, "mine")
    job, _ = jobs.submit(request(settings))
    for dead in ("first", "second", "third"):
        assert Ledger(database, dead).begin(f"{job.id}.1")
        ended = [*ledger.bury(dead, attempts=2), *ledger.bury(dead, attempts=2)]
        assert bool(ended) == (dead == "third")
    assert jobs.get(job.id).state is State.FAILED


def test_a_lock_is_one_processs_until_it_is_released(settings: Settings, database: sa.Engine) -> None:
    held = take_lock("a", database, settings.locks)
    assert held is not None
    assert held.holds()
    assert take_lock("a", database, settings.locks) is None
    assert take_lock("b", database, settings.locks) is not None
    held.release()
    assert take_lock("a", database, settings.locks) is not None
