"""The tables of runs and batches, the order in which they wait, and a row of it as a Job.

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

_OF_A_BATCH: dict[str, Any] = {
    f"{dialect}_where": sa.text("batch IS NOT NULL") for dialect in ("sqlite", "postgresql")
}

runs = sa.Table(
    "dmapsvc_runs",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),  # order of acceptance
    sa.Column("run", sa.Text, nullable=True, unique=True),  # <job>.<n>, the engine's workflow, if it has one
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
    sa.Column("priority", sa.Integer, nullable=False, server_default="0"),  # 0 to 15, lower goes first
    sa.Column("batch", sa.Text, nullable=True),  # it belongs to, as the latest of its job
    sa.Column("created", sa.Float, nullable=False),  # these three: seconds since 1970, UTC
    sa.Column("started", sa.Float, nullable=True),
    sa.Column("ended", sa.Float, nullable=True),
    sa.Column("problem", sa.JSON(none_as_null=True), nullable=True),
    sa.Column("outcome", sa.JSON(none_as_null=True), nullable=True),  # notes, seconds, backend
    sa.Index("dmapsvc_runs_state", "state", "seq"),
    sa.Index("dmapsvc_runs_queue", "state", "priority", "seq"),
    sa.Index("dmapsvc_runs_batch", "batch", "state", "ended", **_OF_A_BATCH),
    sa.Index("dmapsvc_runs_batch_seq", "batch", "seq", **_OF_A_BATCH),
    sa.Index("dmapsvc_runs_job", "job", "n"),
    sa.Index("dmapsvc_runs_case", "dataset", "case_name", "seq"),
)

batches = sa.Table(
    "dmapsvc_batches",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),  # order of acceptance
    sa.Column("batch", sa.Text, nullable=False, unique=True),  # its id
    sa.Column("dataset", sa.Text, nullable=False),
    sa.Column("asked", sa.JSON, nullable=False),
    sa.Column("cases", sa.Integer, nullable=False),  # that were found; and files, with their images
    sa.Column("files", sa.Integer, nullable=False),
    sa.Column("published", sa.Integer, nullable=False, server_default="0"),  # files passed over, for that
    sa.Column("under_way", sa.Integer, nullable=False, server_default="0"),  # likewise
    sa.Column("submitted", sa.Boolean, nullable=False, server_default=sa.false()),  # to its last file
    sa.Column("cancelled", sa.Boolean, nullable=False, server_default=sa.false()),  # is submitted no further
    sa.Column("created", sa.Float, nullable=False),  # seconds since 1970, UTC
)

EARLIER = ~runs.c.latest  # of a job that was run again
sa.Index("dmapsvc_runs_earlier", runs.c.state, postgresql_where=EARLIER, sqlite_where=EARLIER)

workers = sa.Table(
    "dmapsvc_workers",
    metadata,
    sa.Column("executor", sa.Text, primary_key=True),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("backend", sa.Text, nullable=False),
    sa.Column("device", sa.Text, nullable=False),
    sa.Column("concurrency", sa.Integer, nullable=False),
    sa.Column("memory_used", sa.BigInteger, nullable=True),  # bytes, of the device
    sa.Column("memory_total", sa.BigInteger, nullable=True),
    sa.Column("started", sa.Float, nullable=False),  # these two: seconds since 1970, by the database's clock
    sa.Column("seen", sa.Float, nullable=False),
)

UPLOAD_PRIORITY, BATCH_PRIORITY = 0, 10  # somebody waits for an upload; chosen, with room between and after

LIVE = tuple(state.value for state in State if state.live)

Row = sa.Row[Any]


def in_line() -> sa.Select[tuple[int]]:
    """The queue: the `seq` of the runs that wait, the next to start first."""
    return sa.select(runs.c.seq).where(runs.c.state == State.QUEUED).order_by(runs.c.priority, runs.c.seq)


def positions(connection: sa.Connection, rows: Iterable[Row]) -> dict[int, int]:
    """The place in the queue, from 1, of each queued row, by its `seq`; reads an index, not the rows."""
    asked: dict[int, list[int]] = {}
    for row in rows:
        if row.state == State.QUEUED:
            asked.setdefault(row.priority, []).append(row.seq)
    return {seq: place for item in asked.items() for seq, place in _places(connection, *item).items()}


def _places(connection: sa.Connection, priority: int, asked: list[int]) -> dict[int, int]:
    """The places of rows of one priority: how many come before all of them, and their order from there."""
    queued, same = runs.c.state == State.QUEUED, runs.c.priority == priority
    earlier = sa.select(sa.func.count()).where(queued, runs.c.priority < priority).scalar_subquery()
    older = sa.select(sa.func.count()).where(queued, same, runs.c.seq < min(asked)).scalar_subquery()
    before = connection.execute(
        sa.select(earlier + older)
    ).scalar_one()  # two ranges of the index; OR is none
    place = sa.func.row_number().over(order_by=runs.c.seq).label("place")
    line = sa.select(runs.c.seq, place).where(queued, same, runs.c.seq.between(min(asked), max(asked)))
    places = line.subquery()
    found = connection.execute(sa.select(places).where(places.c.seq.in_(asked)))
    return {row.seq: before + row.place for row in found}


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
        sha256=outcome.get("sha256", row.request["sha256"]),
        revision=row.revision,
        filename=row.request["filename"],
        attempts=row.attempts,
        batch=row.batch,
    )


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
