"""Gives runs that wait a workflow of the engine, from the head of the line, so that its queue stays shallow.

An upload has its workflow from the moment it is accepted. The cases of a batch wait as rows alone: accepting
50,000 of them is one insert, cancelling them one update. Every worker feeds; none must.
"""

from __future__ import annotations

import logging
import threading
import time

import sqlalchemy as sa
from dbos import DBOSClient

from dmapsvc.jobs.database import writing
from dmapsvc.jobs.engine import enqueue
from dmapsvc.jobs.ledger import HICCUPS
from dmapsvc.jobs.record import State
from dmapsvc.jobs.table import in_line, runs

_LINE = 256  # runs at the head that have workflows; more than the workers of a cluster claim and do not begin
_BITE = 32  # given workflows in one transaction, so that uploads need not wait long for theirs
_BUSY, _IDLE = 0.1, 0.3  # seconds between looks at the line, while it moves and while it does not
_CHECK = 1.0  # seconds between looks for runs that the engine has lost
_GOES_ON = ["ENQUEUED", "PENDING", "DELAYED"]  # the engine's words for a workflow that has not ended

_log = logging.getLogger(__name__)


class Feeder:
    """Feeds the engine's queue, in a thread of its own, until `stopping` is set."""

    def __init__(self, engine: sa.Engine, client: DBOSClient, stopping: threading.Event) -> None:
        self._engine = engine
        self._client = client
        self._stopping = stopping
        self._checked = 0.0

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._feed_on, name="feeder", daemon=True).start()

    def _feed_on(self) -> None:
        pause = 0.0
        while not self._stopping.wait(pause):
            try:
                pause = 0.0 if (fed := feed(self._engine, self._client)) == _BITE else _BUSY if fed else _IDLE
                if time.monotonic() - self._checked > _CHECK:
                    requeue_lost(self._engine, self._client)
                    self._checked = time.monotonic()
            except HICCUPS as error:
                _log.warning("the queue's database does not answer: %s", error.args[0])
                pause = _CHECK


def feed(engine: sa.Engine, client: DBOSClient) -> int:
    """Give some runs at the head of the line that have none a workflow; how many."""
    line = in_line().limit(_LINE).subquery()
    unfed = sa.select(runs).where(runs.c.seq.in_(sa.select(line.c.seq)), runs.c.run.is_(None))
    unfed = unfed.order_by(runs.c.priority, runs.c.seq).limit(_BITE)
    with engine.connect() as connection:
        if connection.execute(unfed).first() is None:
            return 0
    with writing(engine) as connection:
        rows = connection.execute(unfed).all()
        for row in rows:
            enqueue(client, connection, row, row.n)
    return len(rows)


def requeue_lost(engine: sa.Engine, client: DBOSClient) -> None:
    """Give the runs that wait, but whose workflow has ended or is gone, a new one: the row rules.

    One that the engine has lost comes to the head of the line.
    """
    line = in_line().add_columns(runs.c.run).limit(_LINE).subquery()
    with engine.connect() as connection:
        waiting = connection.execute(sa.select(line.c.run).where(line.c.run.is_not(None))).scalars().all()
    if not waiting:
        return
    known = client.list_workflows(
        workflow_ids=list(waiting), status=_GOES_ON, load_input=False, load_output=False
    )
    for name in set(waiting) - {workflow.workflow_id for workflow in known}:
        with writing(engine) as connection:
            lost = sa.and_(runs.c.run == name, runs.c.state == State.QUEUED)
            row = connection.execute(sa.select(runs).where(lost)).one_or_none()
            if row is None:
                continue  # it ended meanwhile, or another worker was here
            enqueue(client, connection, row, row.n + 1)
        _log.warning("the engine had lost %s/%s; it waits anew", row.dataset, row.case_name)
