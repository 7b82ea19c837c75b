"""The table of runs, and a row of it as a Job.

A job's runs are rows; its state is the state of the latest. Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from dmapsvc.errors import Problem
from dmapsvc.jobs.record import Job, Kind, State

metadata = sa.MetaData()

runs = sa.Table(
    "dmapsvc_runs",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),  # order of acceptance
    sa.Column("run", sa.Text, nullable=False, unique=True),  # <job>.<n>, the engine's workflow
    sa.Column("job", sa.Text, nullable=False),
    sa.Column("n", sa.Integer, nullable=False),
    sa.Column("latest", sa.Boolean, nullable=False),  # of its job
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("dataset", sa.Text, nullable=False),
    sa.Column("case_name", sa.Text, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),  # of the case's masks, or of its images
    sa.Column("request", sa.JSON, nullable=False),
    sa.Column("spool", sa.Text, nullable=True),  # the upload, as long as this run may need it
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("stopping", sa.Boolean, nullable=False, default=False),  # was cancelled while it ran
    sa.Column("executor", sa.Text, nullable=True),  # whoever has it, while it runs
    sa.Column("alone", sa.Boolean, nullable=False, default=False),  # was interrupted: runs without neighbours
    sa.Column("deaths", sa.Integer, nullable=False, default=0),  # of its worker or GPU, while it ran alone
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("stage", sa.Text, nullable=True),
    sa.Column("percent", sa.Float, nullable=False, default=0.0),
    sa.Column("created", sa.Float, nullable=False),  # these three: seconds since 1970, UTC
    sa.Column("started", sa.Float, nullable=True),
    sa.Column("ended", sa.Float, nullable=True),
    sa.Column("problem", sa.JSON(none_as_null=True), nullable=True),
    sa.Column("outcome", sa.JSON(none_as_null=True), nullable=True),  # notes, seconds, backend
    sa.Index("dmapsvc_runs_state", "state", "seq"),
    sa.Index("dmapsvc_runs_job", "job", "n"),
    sa.Index("dmapsvc_runs_case", "dataset", "case_name", "seq"),
)

LIVE = tuple(state.value for state in State if state.live)

Row = sa.Row[Any]


def positions(connection: sa.Connection, rows: Iterable[Row]) -> dict[int, int]:
    """The place in the queue, from 1, of each queued row, by its `seq`; reads an index once, not the rows."""
    asked = [row.seq for row in rows if row.state == State.QUEUED]
    if not asked:
        return {}
    place = sa.func.row_number().over(order_by=runs.c.seq).label("place")
    line = sa.select(runs.c.seq, place).where(runs.c.state == State.QUEUED, runs.c.seq <= max(asked))
    places = line.subquery()
    found = connection.execute(sa.select(places).where(places.c.seq.in_(asked)))
    return {row.seq: row.place for row in found}


def job_of(row: Row, position: int | None) -> Job:
    """The job whose latest run is `row`."""
    outcome = row.outcome or {}
    return Job(
        id=row.job,
        run=row.n,
        kind=Kind(row.kind),
        dataset=row.dataset,
        case=row.case_name,
        state=State(row.state),
        stage=row.stage,
        percent=round(row.percent, 1),
        position=position,
        created=_time(row.created),
        started=_time(row.started),
        ended=_time(row.ended),
        problem=None if row.problem is None else Problem(**row.problem),
        notes=tuple(outcome.get("notes", ())),
        seconds=outcome.get("seconds", {}),
        backend=outcome.get("backend"),
        sha256=row.request["sha256"],
        revision=row.revision,
        filename=row.request["filename"],
        attempts=row.attempts,
    )


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
