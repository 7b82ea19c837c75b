"""What is left of workers that died: their runs go back to the queue.

The engine recovers only its own executor's runs by itself. Doing it for a dead peer takes a private call
(`_recover_pending_workflows`), which is made here and nowhere else; the engine's version is pinned for it.
"""

from __future__ import annotations

import logging

import sqlalchemy as sa
from dbos import DBOS

from dmapsvc.jobs.engine import remove_uploads
from dmapsvc.jobs.ledger import Ledger
from dmapsvc.jobs.locks import take_lock
from dmapsvc.jobs.workers import remove_worker, silent_workers
from dmapsvc.settings import Settings

_log = logging.getLogger(__name__)


def take_over_dead(ledger: Ledger, engine: sa.Engine, settings: Settings) -> None:
    """Put the runs of every executor that died back into the queue; those interrupted will run alone.

    May be cut short anywhere: what is left is found again the next time.
    """
    claimed = DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
    claimants = {claim.executor_id for claim in claimed if claim.executor_id}
    for executor in (claimants | ledger.executors() | silent_workers(engine)) - {ledger.executor}:
        lock = take_lock(executor, engine, settings.locks, lease=settings.lease_seconds)
        if lock is None:
            continue
        for row in ledger.bury(executor, settings.attempts):
            _log.warning("ended %s/%s: its worker died", row.dataset, row.case_name)
            remove_uploads(settings.spool, [row.request["spool"]])
        release_claims(executor)
        remove_worker(engine, executor)
        lock.release()
        _log.warning("took over the jobs of a worker that died (%s)", executor)


def release_claims(executor: str) -> None:
    """Put what `executor` has claimed back into the engine's queue; it must not run any more."""
    DBOS._recover_pending_workflows([executor])
