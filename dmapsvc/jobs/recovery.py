"""What is left of workers that died: their runs go back to the queue, and their files leave the spool.

Runs that the engine has lost get a new workflow.

The engine recovers only its own executor's runs by itself. Doing it for a dead peer takes a private call
(`_recover_pending_workflows`), which is made here and nowhere else; the engine's version is pinned for it.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

import sqlalchemy as sa
from dbos import DBOS, DBOSClient

from dmapsvc.jobs.database import writing
from dmapsvc.jobs.engine import enqueue, remove_uploads
from dmapsvc.jobs.ledger import Ledger
from dmapsvc.jobs.locks import take_lock
from dmapsvc.jobs.record import State
from dmapsvc.jobs.table import runs
from dmapsvc.settings import Settings

_OLD = 3600.0  # seconds; a file in the spool is mentioned by its run long before

_HEAD = 100  # runs looked at in a sweep; one that the engine has lost comes to the head of the queue
_GOES_ON = ["ENQUEUED", "PENDING", "DELAYED"]  # the engine's words for a workflow that has not ended

_log = logging.getLogger(__name__)


def take_over_dead(ledger: Ledger, engine: sa.Engine, settings: Settings) -> None:
    """Put the runs of every executor that died back into the queue; those interrupted will run alone.

    May be cut short anywhere: what is left is found again the next time.
    """
    claimed = DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
    claimants = {claim.executor_id for claim in claimed if claim.executor_id}
    for executor in (claimants | ledger.executors()) - {ledger.executor}:
        lock = take_lock(executor, engine, settings.locks)
        if lock is None:
            continue
        for row in ledger.bury(executor, settings.attempts):
            _log.warning("ended %s/%s: its worker died", row.dataset, row.case_name)
            remove_uploads(settings.spool, [row.request["spool"]])
        release_claims(executor)
        lock.release()
        _log.warning("took over the jobs of a worker that died (%s)", executor)


def release_claims(executor: str) -> None:
    """Put what `executor` has claimed back into the engine's queue; it must not run any more."""
    DBOS._recover_pending_workflows([executor])


def requeue_lost(ledger: Ledger, engine: sa.Engine, client: DBOSClient) -> None:
    """Give the runs that wait, but whose workflow has ended or is gone, a new one: the row rules."""
    waiting = ledger.head(_HEAD)
    if not waiting:
        return
    known = client.list_workflows(workflow_ids=waiting, status=_GOES_ON, load_input=False, load_output=False)
    for name in set(waiting) - {workflow.workflow_id for workflow in known}:
        with writing(engine) as connection:
            lost = sa.and_(runs.c.run == name, runs.c.state == State.QUEUED)
            row = connection.execute(sa.select(runs).where(lost)).one_or_none()
            if row is None:
                continue  # it ended meanwhile, or another worker was here
            run, n = enqueue(client, connection, row.job, row.n)
            connection.execute(sa.update(runs).where(lost).values(run=run, n=n))
        _log.warning("the engine had lost %s/%s; it waits anew", row.dataset, row.case_name)


def sweep_spool(ledger: Ledger, spool: Path) -> None:
    """Remove uploads that no run needs: a process died before it could."""
    if not spool.is_dir():
        return
    old = [file.name for file in spool.iterdir() if not file.suffix and _age(file) > _OLD]
    needed = ledger.needed_uploads()
    remove_uploads(spool, [name for name in old if name not in needed])


def _age(file: Path) -> float:
    try:
        return time.time() - file.stat().st_mtime
    except FileNotFoundError:
        return 0.0
