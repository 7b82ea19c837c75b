"""Requests for tests, with an upload in the spool each."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from dmapsvc.jobs import Kind, Request, State
from dmapsvc.jobs.database import writing
from dmapsvc.jobs.table import BATCH_PRIORITY, runs
from dmapsvc.settings import Settings
from dmapsvc.spec import MapSpec, Spacing


def fast(data: Path, database_url: str | None = None) -> Settings:
    """Settings under which tests need not wait long; a fake job takes `size` bytes."""
    return Settings(
        data=data, database_url=database_url, attempts=2, poll_seconds=0.02, memory_budget=1_000_000
    )


def request(
    settings: Settings,
    case: str = "a",
    *,
    dataset: str = "knees",
    mask: str = "first",
    behaviour: str = "done",
    kind: Kind = Kind.MASK,
    replace: bool = False,
    size: int = 1000,
    spacing: Spacing | None = (0.7, 0.36, 0.36),
) -> Request:
    """A request whose upload holds `mask`; the fake worker reads what it shall do from the file name."""
    spool = uuid.uuid4().hex
    settings.spool.mkdir(parents=True, exist_ok=True)
    (settings.spool / spool).write_text(mask)
    return Request(
        kind=kind,
        dataset=dataset,
        case=case,
        sha256=hashlib.sha256(mask.encode()).hexdigest(),
        spool=spool,
        filename=behaviour,
        spec=MapSpec(labels=(5, 6), units="mm"),
        shape=(10, 10, 10),
        affine=((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0)),
        spacing=spacing,
        bytes=size,
        replace=replace,
    )


def uploads(settings: Settings) -> set[str]:
    """The files in the spool."""
    return {file.name for file in settings.spool.iterdir()}


@contextmanager
def noted(database: sa.Engine | type[sa.Engine]) -> Iterator[list[tuple[str, Any]]]:
    """The statements that this database, or every one, is asked within the block, with their parameters."""
    asked: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        asked.append((statement, parameters))

    sa.event.listen(database, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        sa.event.remove(database, "before_cursor_execute", note)


def insert_batch(database: sa.Engine, requests: Sequence[Request], batch: str = "weekend") -> None:
    """Accept cases as a batch does: rows that have no workflow yet, behind every upload."""
    with writing(database) as connection:
        connection.execute(sa.insert(runs), [_row_of(request, batch) for request in requests])


def _row_of(request: Request, batch: str) -> dict[str, object]:
    return {
        "run": None,
        "job": request.id,
        "n": 1,
        "latest": True,
        "kind": request.kind,
        "dataset": request.dataset,
        "case_name": request.case,
        "revision": 1,
        "request": request.to_json(),
        "spool": request.spool,
        "state": State.QUEUED,
        "priority": BATCH_PRIORITY,
        "batch": batch,
        "created": time.time(),
    }
