"""What becomes of each file of a batch when it is accepted: a run that waits, one that failed, or none.

Everything here works inside the transaction that accepts these files.
"""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from dmapsvc.errors import Conflict, Problem
from dmapsvc.jobs.acceptance import check_rivals, release, same_of, stop
from dmapsvc.jobs.batch import BatchFile, Shelf
from dmapsvc.jobs.record import Kind, Request, State
from dmapsvc.jobs.table import BATCH_PRIORITY, LIVE, Row, runs


@dataclass(kw_only=True)
class Taken:
    """What was done with some files: how many needed no run, runs that were stopped, uploads spent."""

    published: int = 0
    under_way: int = 0
    stopped: list[Row] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)


def take(connection: sa.Connection, cases: Sequence[Sequence[BatchFile]], shelf: Shelf, batch: str) -> Taken:
    """Give the files of `cases`, each case's mask before its image, what runs they need; all of a dataset."""
    return _Taking(connection, cases, shelf, batch).take()


def republished(connection: sa.Connection, cases: Sequence[Sequence[BatchFile]], shelf: Shelf) -> list[str]:
    """The published ones of `cases` that `take` would make anew now, so that it asks for their revision."""
    masks = [files[0].request for files in cases if files[0].request.case in shelf.cases]
    before = _runs_of(connection, masks)
    return [mask.case for mask in masks if not _is_spared(mask, before[mask.case, mask.kind], shelf)]


class _Taking:
    def __init__(
        self, connection: sa.Connection, cases: Sequence[Sequence[BatchFile]], shelf: Shelf, batch: str
    ) -> None:
        self._connection, self._cases, self._shelf, self._batch = connection, cases, shelf, batch
        self._before = _runs_of(connection, [files[0].request for files in cases])
        self._rows: list[dict[str, Any]] = []
        self._taken = Taken()

    def take(self) -> Taken:
        for files in self._cases:
            anew = False
            for file in files:
                anew = self._file(file, anew) or anew
        if self._rows:
            jobs = [row["job"] for row in self._rows if row["n"] > 1]
            if jobs:
                older = sa.update(runs).where(runs.c.job.in_(jobs))
                self._connection.execute(older.values(latest=False, batch=None))
            self._connection.execute(sa.insert(runs), self._rows)
        return self._taken

    def _file(self, file: BatchFile, anew: bool) -> bool:
        """Whether the file gets a run that waits; `anew`: the file before it, of the same case, got one."""
        request, problem = file.request, file.problem
        before = self._before[request.case, request.kind]
        rivals = _rivals(before)
        if problem is None and same_of(request, rivals) is not None:
            self._taken.under_way += 1
            return False
        if problem is None and not anew and _is_published(request, before, self._shelf):
            self._taken.published += 1
            return False
        problem = problem or _in_the_way(request, rivals)
        if problem is None:
            self._supersede(request, before, rivals)
        self._rows.append(self._row(request, before, problem))
        return problem is None

    def _supersede(self, request: Request, before: Sequence[Row], rivals: Sequence[Row]) -> None:
        """Stop the rivals and give up what uploads there are: of most files neither, so nothing is asked."""
        if rivals:
            self._taken.uploads += stop(self._connection, rivals)
            self._taken.stopped += rivals
        if any(row.spool for row in before):
            self._taken.uploads += release(self._connection, request)

    def _row(self, request: Request, before: Sequence[Row], problem: Problem | None) -> dict[str, Any]:
        now = time.time()
        return {
            "run": None,  # it gets a workflow of the engine when it is near the head of the line
            "job": request.id,
            "n": max((row.n for row in before if row.job == request.id), default=0) + 1,
            "latest": True,
            "kind": request.kind,
            "dataset": request.dataset,
            "case_name": request.case,
            "revision": self._revision(request, before) if problem is None else 0,  # it supersedes nothing
            "request": request.to_json(),
            "spool": None,
            "state": State.QUEUED if problem is None else State.FAILED,
            "priority": BATCH_PRIORITY,
            "batch": self._batch,
            "created": now,
            "ended": None if problem is None else now,
            "problem": None if problem is None else dataclasses.asdict(problem),
        }

    def _revision(self, request: Request, before: Sequence[Row]) -> int:
        """One above every revision accepted for the case, and above the published one."""
        accepted = max((row.revision for row in before), default=0)
        is_published_mask = request.kind is Kind.MASK and request.case in self._shelf.cases
        published = self._shelf.revision(request.case) if is_published_mask else 0
        return max(accepted, published) + 1


def _runs_of(connection: sa.Connection, masks: Iterable[Request]) -> dict[tuple[str, str], list[Row]]:
    """All runs of the cases of `masks`, which are of one dataset, by case and kind, newest first."""
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    asked = list(masks)
    cases = runs.c.case_name.in_([mask.case for mask in asked])
    for dataset in {mask.dataset for mask in asked}:
        query = sa.select(runs).where(runs.c.dataset == dataset, cases).order_by(runs.c.seq.desc())
        for row in connection.execute(query):
            found[row.case_name, row.kind].append(row)
    return found


def _rivals(before: Sequence[Row]) -> list[Row]:
    return [row for row in before if row.state in LIVE and not row.stopping]


def _is_spared(mask: Request, before: Sequence[Row], shelf: Shelf) -> bool:
    return same_of(mask, _rivals(before)) is not None or _is_published(mask, before, shelf)


def _is_published(request: Request, before: Sequence[Row], shelf: Shelf) -> bool:
    """Whether what is published of the case was made from just this file, as far as the queue knows."""
    done = [row for row in before if row.state == State.DONE]
    newest = max(done, key=lambda row: row.revision, default=None)
    if newest is None or request.case not in shelf.cases:
        return False
    return same_of(request, [newest]) is not None


def _in_the_way(request: Request, rivals: Sequence[Row]) -> Problem | None:
    try:
        check_rivals(request, rivals)
    except Conflict as error:
        return error.problem
    return None
