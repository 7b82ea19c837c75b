"""A worker's side of the table of runs: begin, tell progress, end, hand back, and mark what died.

Every change asks first whether the run is still this worker's; a late one changes nothing.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import sqlalchemy as sa

from dmapsvc.errors import DmapsvcError, Problem, WorkerDied
from dmapsvc.jobs.database import writing
from dmapsvc.jobs.record import State
from dmapsvc.jobs.table import Row, runs

HICCUPS = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)
"""What the database raises when it may answer the same a little later."""

_AGAIN = 0.5  # seconds until what the database refused is tried again

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Ledger:
    """The runs of the worker `executor`.

    That a run begins is on disk before it does: one that takes the machine down must be found running, to be
    run alone and counted. How it ends is on disk before anybody is told. That it gets on is written through
    `relaxed`, if it is given, and a power cut may take it back.
    """

    def __init__(self, engine: sa.Engine, executor: str, *, relaxed: sa.Engine | None = None) -> None:
        self._engine = engine
        self._relaxed = relaxed or engine
        self.executor = executor

    def find(self, run: str) -> Row | None:
        """The row of a run that is queued; None if it ended, is cancelled or forgotten."""
        query = sa.select(runs).where(runs.c.run == run, runs.c.state == State.QUEUED)

        def find() -> Row | None:
            with self._engine.connect() as connection:
                return connection.execute(query).one_or_none()

        return self._patiently(find)

    def begin(self, run: str) -> bool:
        """Mark the start of an attempt; False if the run is no longer to be run."""
        return self._patiently(
            lambda: self._change(
                run,
                sa.or_(runs.c.state == State.QUEUED, self._goes_on()),
                state=State.RUNNING,
                executor=self.executor,
                attempts=runs.c.attempts + 1,
                started=sa.func.coalesce(runs.c.started, time.time()),
                stage=None,
                percent=0.0,
            )
        )

    def tell(self, run: str, stage: str, percent: float) -> bool:
        """Write progress; False if the run is to stop."""
        values = {"stage": stage, "percent": percent}
        return _update(self._relaxed, run, self._goes_on(), values)

    def wanted(self, run: str) -> bool:
        """Whether the run may publish: still running here, not cancelled, and the newest of its case."""
        newer = runs.alias()
        newest = ~sa.exists().where(
            newer.c.dataset == runs.c.dataset,
            newer.c.case_name == runs.c.case_name,
            newer.c.kind == runs.c.kind,
            newer.c.revision > runs.c.revision,
        )
        query = sa.select(sa.func.count()).select_from(runs).where(runs.c.run == run, self._goes_on(), newest)

        def ask() -> bool:
            with self._engine.connect() as connection:
                return bool(connection.execute(query).scalar_one() > 0)

        return self._patiently(ask)

    def done(self, run: str, outcome: dict[str, Any]) -> bool:
        """End a run that published; False if it is no longer this worker's."""
        values = {"outcome": outcome, "stage": None, "percent": 100.0, "spool": None}
        return self._end(run, State.DONE, values)

    def refused(self, run: str, problem: Problem, *, keep_upload: bool) -> bool:
        """End a run that is queued and cannot begin."""
        upload = {} if keep_upload else {"spool": None}
        values = {"state": State.FAILED, "ended": time.time(), **upload}
        return self._patiently(
            lambda: self._change(
                run, runs.c.state == State.QUEUED, problem=dataclasses.asdict(problem), **values
            )
        )

    def failed(self, run: str, problem: Problem, *, keep_upload: bool) -> bool:
        """End a run that failed."""
        upload = {} if keep_upload else {"spool": None}
        return self._end(run, State.FAILED, {"problem": dataclasses.asdict(problem), **upload})

    def superseded(self, run: str, problem: Problem) -> bool:
        """End a run that found itself unwanted: `problem` says why, unless it was cancelled.

        Whether its upload is spent; that of a run cancelled by its id is not.
        """
        kept = sa.and_(runs.c.stopping, runs.c.spool.is_not(None))
        if self._end(run, State.CANCELLED, {}, condition=kept):
            return False
        why = {"problem": dataclasses.asdict(problem), "spool": None}
        asked = self._end(run, State.CANCELLED, {}, condition=runs.c.stopping)
        return asked or self._end(run, State.CANCELLED, why)

    def lost(self, run: str, problem: Problem, attempts: int) -> bool:
        """Take a run that broke this worker's device, as from a worker that died: see `bury`.

        It fails with `problem`, and keeps its upload. False if it is no longer this worker's.
        """
        mine = sa.and_(runs.c.executor == self.executor, runs.c.state == State.RUNNING)

        def lose() -> bool:
            with writing(self._engine) as connection:
                row = connection.execute(sa.select(runs).where(runs.c.run == run, mine)).one_or_none()
                if row is None:
                    return False
                values = _after_death(row, attempts, problem)
                connection.execute(sa.update(runs).where(runs.c.seq == row.seq).values(values))
                return True

        return self._patiently(lose)

    def hand_back(self) -> int:
        """Put this worker's running runs back into the queue, none the worse for it; how many."""
        return self._patiently(self._hand_back)

    def bury(self, executor: str, attempts: int) -> list[Row]:
        """Take the runs from a worker that died; those that ended with it and whose uploads are spent.

        Each is queued to run alone from now on; one that has been alone counts the death, and fails with
        WorkerDied after `attempts` of them; one that was told to stop is cancelled.
        """
        lost = sa.select(runs).where(runs.c.executor == executor, runs.c.state == State.RUNNING)
        with writing(self._engine) as connection:
            rows = connection.execute(lost).all()
            for row in rows:
                values = _after_death(row, attempts)
                connection.execute(sa.update(runs).where(runs.c.seq == row.seq).values(values))
        return [row for row in rows if (row.spool is None if row.stopping else _is_poison(row, attempts))]

    def executors(self) -> set[str]:
        """Whoever has runs, this worker or another, living or dead."""
        with self._engine.connect() as connection:
            having = sa.select(runs.c.executor).where(runs.c.state == State.RUNNING).distinct()
            return {name for name in connection.execute(having).scalars() if name}

    def _goes_on(self) -> sa.ColumnElement[bool]:
        return sa.and_(runs.c.executor == self.executor, runs.c.state == State.RUNNING, ~runs.c.stopping)

    def _end(
        self,
        run: str,
        state: State,
        values: dict[str, Any],
        *,
        condition: sa.ColumnElement[bool] | None = None,
    ) -> bool:
        mine = sa.and_(runs.c.executor == self.executor, runs.c.state == State.RUNNING)
        where = mine if condition is None else sa.and_(mine, condition)
        return self._patiently(
            lambda: self._change(run, where, state=state, ended=time.time(), executor=None, **values)
        )

    def _change(self, run: str, condition: sa.ColumnElement[bool], **values: Any) -> bool:
        return _update(self._engine, run, condition, values)

    def _hand_back(self) -> int:
        mine = sa.and_(runs.c.executor == self.executor, runs.c.state == State.RUNNING)
        with writing(self._engine) as connection:  # or a cancel could look for it where it just was
            connection.execute(sa.update(runs).where(mine, runs.c.stopping).values(_cancelled_now()))
            return connection.execute(sa.update(runs).where(mine).values(_QUEUED_AGAIN)).rowcount

    def _patiently(self, change: Callable[[], _T]) -> _T:
        """The change or question, tried again as long as the database refuses (a full disk, a restart)."""
        while True:
            try:
                return change()
            except HICCUPS as error:
                _log.warning("the queue's database does not answer, trying again: %s", error.args[0])
                time.sleep(_AGAIN)


def _update(
    engine: sa.Engine, run: str, condition: sa.ColumnElement[bool], values: Mapping[str, Any]
) -> bool:
    with engine.begin() as connection:
        result = connection.execute(sa.update(runs).where(runs.c.run == run, condition).values(values))
        return result.rowcount > 0


_QUEUED_AGAIN = {"state": State.QUEUED, "executor": None, "stage": None, "percent": 0.0}


def _cancelled_now() -> dict[str, Any]:
    return {"state": State.CANCELLED, "executor": None, "ended": time.time()}


def _is_poison(row: Row, attempts: int) -> bool:
    return bool(row.alone) and row.deaths + 1 >= attempts


def _after_death(row: Row, attempts: int, problem: Problem | None = None) -> dict[str, Any]:
    """What becomes of a run whose worker died, by a `problem` that a retry may mend if it is known."""
    if row.stopping:
        return _cancelled_now()
    deaths = row.deaths + bool(row.alone)
    if not _is_poison(row, attempts):
        return {**_QUEUED_AGAIN, "alone": True, "deaths": deaths}
    return {
        "state": State.FAILED,
        "executor": None,
        "ended": time.time(),
        "spool": None if problem is None else row.spool,
        "deaths": deaths,
        "problem": dataclasses.asdict(problem or _worker_died(row, deaths).problem),
    }


def _worker_died(row: Row, deaths: int) -> DmapsvcError:
    return WorkerDied(
        f"{row.request['filename']}: its worker died {deaths} times while it ran alone",
        remedy="See the worker's log; it may need more memory than the machine has",
    )
