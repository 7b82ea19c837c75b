"""What accepting a run means for the other runs of its case: who stands in the way, who stops, what is spent.

Each function works inside the transaction in which the run is accepted.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import sqlalchemy as sa

from dmapsvc.errors import Conflict
from dmapsvc.jobs.record import Kind, Request, State
from dmapsvc.jobs.table import LIVE, Row, runs


def rivals_of(connection: sa.Connection, request: Request) -> Sequence[Row]:
    """The runs of the same kind for the same case that go on, newest first."""
    query = sa.select(runs).where(_same_case(request), runs.c.state.in_(LIVE), ~runs.c.stopping)
    return connection.execute(query.order_by(runs.c.seq.desc())).all()


def same_of(request: Request, rivals: Sequence[Row]) -> Row | None:
    """The one of `rivals` that does just what is asked for.

    A NumPy file's spacing is not in the file, so not in the job's id; one that says none asks for none.
    """
    for row in rivals:
        spacing = row.request["spacing"]
        same = request.spacing is None or (spacing is not None and np.allclose(spacing, request.spacing))
        if row.job == request.id and same:
            return row
    return None


def check_rivals(request: Request, rivals: Sequence[Row]) -> None:
    """Raise Conflict if a mask stands in the way and is not to be replaced."""
    if rivals and request.kind is Kind.MASK and not request.replace:
        other = rivals[0]
        if other.job == request.id:
            raise Conflict(
                f"case {request.case!r}: this mask is {other.state} with spacing {other.request['spacing']}, "
                f"not {request.spacing}",
                "a case has one map at a time",
                "Add ?replace=true, wait for the other, or choose another case",
            )
        raise Conflict(
            f"case {request.case!r}: mask {other.request['sha256']} is {other.state}, "
            f"this one is {request.sha256}",
            "a case has one mask at a time",
            "Add ?replace=true, wait for the other, or choose another case",
        )


def next_revision(connection: sa.Connection, request: Request, published: int) -> int:
    """One above every revision accepted for the case, and above the `published` one."""
    accepted = connection.execute(sa.select(sa.func.max(runs.c.revision)).where(_same_case(request))).scalar()
    return max(accepted or 0, published) + 1


def stop(connection: sa.Connection, rows: Sequence[Row], *, keep_uploads: bool = False) -> list[str]:
    """Cancel the queued ones of `rows` and tell the running ones to stop; the uploads nobody needs now.

    Unless it is kept for a retry, the upload of a running one is its worker's to remove.
    """
    upload: dict[str, None] = {} if keep_uploads else {"spool": None}
    these = runs.c.seq.in_([row.seq for row in rows])
    queued = sa.update(runs).where(these, runs.c.state == State.QUEUED)
    ended = connection.execute(
        queued.values(state=State.CANCELLED, ended=time.time(), **upload).returning(runs.c.seq)
    ).scalars()
    cancelled = set(ended)
    running = sa.update(runs).where(these, runs.c.state == State.RUNNING)
    connection.execute(running.values(stopping=True, **upload))
    return [] if keep_uploads else [row.spool for row in rows if row.seq in cancelled and row.spool]


def release(connection: sa.Connection, request: Request) -> list[str]:
    """Let the cancelled and ended runs of the case give up their uploads: a newer one took their place.

    Returns those nobody reads; the upload of one that still stops is its worker's to remove.
    """
    over = sa.or_(runs.c.state.not_in(LIVE), runs.c.stopping)
    keepers = sa.and_(_same_case(request), over, runs.c.spool.is_not(None))
    rows = connection.execute(sa.select(runs.c.spool, runs.c.state).where(keepers)).all()
    connection.execute(sa.update(runs).where(keepers).values(spool=None))
    return [row.spool for row in rows if row.state not in LIVE]


def _same_case(request: Request) -> sa.ColumnElement[bool]:
    return sa.and_(
        runs.c.dataset == request.dataset, runs.c.case_name == request.case, runs.c.kind == request.kind
    )
