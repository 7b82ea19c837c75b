"""How much there is of what in the queue, counted in its database: the same for whoever asks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from dmapsvc.jobs.record import State
from dmapsvc.jobs.table import runs


@dataclass(frozen=True, kw_only=True)
class Census:
    """The jobs by the state of their latest run, and for how many seconds the oldest queued one waits."""

    jobs: Mapping[State, int]
    oldest: float


def take_census(connection: sa.Connection) -> Census:
    """The census of now; reads indices, and no row but the oldest queued one's."""
    every = _by_state(connection, sa.true())
    again = _by_state(connection, ~runs.c.latest)  # few: only what was run again
    first = sa.select(sa.func.min(runs.c.seq)).where(runs.c.state == State.QUEUED).scalar_subquery()
    created = connection.execute(sa.select(runs.c.created).where(runs.c.seq == first)).scalar()
    return Census(
        jobs={state: every.get(state, 0) - again.get(state, 0) for state in State},
        oldest=0.0 if created is None else max(0.0, time.time() - created),
    )


def _by_state(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> dict[str, int]:
    query = sa.select(runs.c.state, sa.func.count()).where(condition).group_by(runs.c.state)
    return {row[0]: row[1] for row in connection.execute(query)}
