"""What the queue no longer needs to remember: runs, and workflows of the engine, that ended long ago.

The row rules (see `engine.py`), so a workflow that has ended says nothing to anybody. May be cut short
anywhere: what is left is found again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from dbos import DBOSClient

from dmapsvc.jobs.database import APPLICATION, SERIALIZER, writing
from dmapsvc.jobs.engine import WORKFLOW, remove_uploads
from dmapsvc.jobs.table import LIVE, batches, runs

_MANY = 500  # rows in a transaction; chosen: nobody who submits meanwhile waits for long
_ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]  # the engine's words


class Retention:
    """The records of the queue in `engine`, which stays the caller's; its uploads lie in `spool`."""

    def __init__(self, engine: sa.Engine, spool: Path) -> None:
        self._engine = engine
        self._spool = spool
        self._client = DBOSClient(
            system_database_engine=engine, serializer=SERIALIZER, application_name=APPLICATION
        )

    def close(self) -> None:
        """Leave the engine."""
        self._client.destroy()

    def needed_uploads(self) -> set[str]:
        """The files in the spool that a run may still need."""
        with self._engine.connect() as connection:
            names = connection.execute(sa.select(runs.c.spool).where(runs.c.spool.is_not(None)))
            return set(names.scalars())

    def ended_runs(self, before: float) -> tuple[int, list[Path]]:
        """How many runs ended `before` (seconds since 1970), and the uploads that they keep for a retry."""
        count = sa.select(sa.func.count()).where(_ended(before))
        kept = sa.select(runs.c.spool).where(_ended(before), runs.c.spool.is_not(None))
        with self._engine.connect() as connection:
            uploads = [self._spool / name for name in connection.execute(kept).scalars()]
            return connection.execute(count).scalar_one(), uploads

    def forget_runs(self, before: float) -> None:
        """Drop the records of runs that ended `before` and of batches that have none left, and remove the
        uploads that they kept.
        """
        some = sa.select(runs.c.seq).where(_ended(before)).limit(_MANY)
        drop = sa.delete(runs).where(runs.c.seq.in_(some)).returning(runs.c.spool)
        dropped: Sequence[str | None] = [None]
        while dropped:
            with writing(self._engine) as connection:
                dropped = connection.execute(drop).scalars().all()
            remove_uploads(self._spool, dropped)
        empty = sa.and_(batches.c.created < before, ~sa.exists().where(runs.c.batch == batches.c.batch))
        with writing(self._engine) as connection:
            connection.execute(sa.delete(batches).where(empty))

    def ended_workflows(self, before: float) -> list[str]:
        """The names of the engine's workflows that ended `before`."""
        found = self._client.list_workflows(
            name=WORKFLOW,
            status=_ENDED,
            completed_before=datetime.fromtimestamp(before, UTC).isoformat(),
            load_input=False,
            load_output=False,
        )
        return [workflow.workflow_id for workflow in found]

    def forget_workflows(self, names: Sequence[str]) -> None:
        """Have the engine forget workflows that have ended."""
        for begin in range(0, len(names), _MANY):
            self._client.delete_workflows(list(names[begin : begin + _MANY]))


def _ended(before: float) -> sa.ColumnElement[bool]:
    return sa.and_(runs.c.state.not_in(LIVE), runs.c.ended < before)
