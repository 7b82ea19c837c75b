"""How much there is of what in the queue, counted in its database: the same for whoever asks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from dmapsvc.jobs.record import State
from dmapsvc.jobs.table import EARLIER, runs


@dataclass(frozen=True, kw_only=True)
class Census:
    """The jobs by the state of their latest run, and for how many seconds the oldest queued one of each
    priority waits.
    """

    jobs: Mapping[State, int]
    oldest: Mapping[int, float]


def take_census(connection: sa.Connection) -> Census:
    """The census of now; reads indices, and no rows but the oldest queued ones'."""
    every = _by_state(connection, sa.true())
    earlier = _by_state(connection, EARLIER)  # few
    heads = sa.select(sa.func.min(runs.c.seq)).where(runs.c.state == State.QUEUED).group_by(runs.c.priority)
    oldest = sa.select(runs.c.priority, runs.c.created).where(runs.c.seq.in_(heads.scalar_subquery()))
    now = time.time()
    return Census(
        jobs={state: every.get(state, 0) - earlier.get(state, 0) for state in State},
        oldest={row.priority: max(0.0, now - row.created) for row in connection.execute(oldest)},
    )


def _by_state(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> dict[str, int]:
    query = sa.select(runs.c.state, sa.func.count()).where(condition).group_by(runs.c.state)
    return {row[0]: row[1] for row in connection.execute(query)}
