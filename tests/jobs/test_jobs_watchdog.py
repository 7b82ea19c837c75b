"""Who is told, and when, of a lock that is lost or silent and of a run that stands still."""

from __future__ import annotations

import queue
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from dmapsvc.errors import Superseded
from dmapsvc.jobs.engine import Jobs
from dmapsvc.jobs.ledger import Ledger
from dmapsvc.jobs.locks import Lock
from dmapsvc.jobs.run import Run
from dmapsvc.jobs.watchdog import LockGuard, Watchdog
from dmapsvc.settings import Settings
from tests.jobs.asking import fast, request
from tests.jobs.processes import PATIENCE


class FakeLock(Lock):
    """A lock that answers what it is told to, or not at all."""

    def __init__(self) -> None:
        self.patience: float | None = 1.0
        self.held = True
        self.answers = threading.Event()
        self.answers.set()
        self.asked = threading.Semaphore(0)

    def holds(self) -> bool:
        self.asked.release()
        self.answers.wait()
        return self.held

    def release(self) -> None:
        pass


@pytest.fixture
def lock() -> FakeLock:
    return FakeLock()


@pytest.fixture
def ends() -> queue.Queue[str]:
    """Why the process was to end."""
    return queue.Queue()


def guarded(lock: FakeLock, ends: queue.Queue[str]) -> LockGuard:
    guard = LockGuard(lock, ends.put)
    guard.start()
    return guard


def test_a_lost_lock_ends_the_process(lock: FakeLock, ends: queue.Queue[str]) -> None:
    guard = guarded(lock, ends)
    assert all(lock.asked.acquire(timeout=PATIENCE) for _ in range(20))  # longer than its patience
    lock.held = False
    assert "lost" in ends.get(timeout=PATIENCE)
    guard.stop()


def test_a_lock_that_does_not_answer_ends_the_process_in_time(lock: FakeLock, ends: queue.Queue[str]) -> None:
    guard = guarded(lock, ends)
    lock.answers.clear()
    assert "could not be confirmed for 1 s" in ends.get(timeout=PATIENCE)
    guard.stop()
    lock.answers.set()


def test_a_lock_that_cannot_be_lost_is_not_asked(lock: FakeLock, ends: queue.Queue[str]) -> None:
    lock.patience = None
    guarded(lock, ends)
    assert not lock.asked.acquire(timeout=0.2)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return fast(tmp_path)


@pytest.fixture
def run(jobs: Jobs, settings: Settings, database: sa.Engine) -> Run:
    """A run under way."""
    job, _ = jobs.submit(request(settings))
    ledger = Ledger(database, "mine")
    row = ledger.find(f"{job.id}.1")
    assert row is not None
    assert ledger.begin(row.run)
    run = Run(row, settings.spool, ledger, threading.Event())
    run.progress("map", 0.25)
    return run


def test_a_run_that_waits_its_turn_does_not_stall(run: Run, jobs: Jobs) -> None:
    stalled: queue.Queue[Run] = queue.Queue()
    watchdog = Watchdog(1.0, stalled.put)
    watchdog.start()
    with watchdog.watching(run):
        end = time.monotonic() + 3
        while time.monotonic() < end:
            run.heed()
            time.sleep(0.01)
        assert stalled.empty()
        assert jobs.list().jobs[0].percent == 25.0
        assert stalled.get(timeout=PATIENCE) is run


def test_a_run_that_waits_its_turn_hears_that_it_was_cancelled(run: Run, jobs: Jobs) -> None:
    jobs.cancel(run.request.id)
    time.sleep(0.3)  # it asks no oftener
    with pytest.raises(Superseded):
        run.heed()
