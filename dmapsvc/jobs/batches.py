"""`Batches`: take a folder's files into the queue, tell how far they are, cancel them.

What becomes of each file is in `batchrows.py`; the runs are the same as those of uploads, only that they wait
after these. A batch is accepted some hundred cases at a time, so that uploads need not wait for all of it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice

import sqlalchemy as sa

from dmapsvc.errors import BadInput, Busy, Conflict, NotFound, TooLarge
from dmapsvc.jobs.batch import Batch, BatchAsked, BatchFile, BatchPage, Shelf
from dmapsvc.jobs.batchrows import Taken, republished, take
from dmapsvc.jobs.database import writing
from dmapsvc.jobs.record import State
from dmapsvc.jobs.table import LIVE, Row, batches, runs

_AT_ONCE = 250  # cases accepted in one transaction; chosen: about a tenth of a second
_LATELY = 120.0  # seconds whose pace tells the time left

Clear = Callable[[Sequence[Row], Iterable[str]], None]
"""Takes runs that were stopped out of the engine's queue, and removes uploads."""


class Batches:
    """The batches of the queue in the database `engine`; safe to use from any thread."""

    def __init__(self, engine: sa.Engine, *, most: int, clear: Clear) -> None:
        self._engine, self._most, self._clear = engine, most, clear

    def submit(
        self, asked: BatchAsked, cases: Iterable[Sequence[BatchFile]], counts: tuple[int, int], shelf: Shelf
    ) -> Batch:
        """Take the files of `cases`, each case's mask before its image; `counts` of cases and of files.

        A file whose case is published from it, and one that is queued or running, is passed over; one that
        stands in another's way, or has a problem already, is a job that failed. Stops short where the batch
        is cancelled meanwhile. Raises TooLarge for more files than may ever wait, Busy while too many do,
        Conflict where the dataset is deleted meanwhile, and what `shelf.check` raises.
        """
        batch = uuid.uuid4().hex
        with writing(self._engine) as connection:
            self._check_room(connection, asked, counts[1])  # again, since others may have come
            connection.execute(
                sa.insert(batches).values(
                    batch=batch,
                    dataset=asked.dataset,
                    asked=asked.to_json(),
                    cases=counts[0],
                    files=counts[1],
                    created=time.time(),
                )
            )
        published = under_way = 0
        for some in _parts(cases):
            if (taken := self._take(some, shelf, batch)) is None:
                return self.get(batch)
            published, under_way = published + taken.published, under_way + taken.under_way
        with self._engine.begin() as connection:
            ours = sa.update(batches).where(batches.c.batch == batch, ~batches.c.cancelled)
            connection.execute(ours.values(published=published, under_way=under_way, submitted=True))
        return self.get(batch)

    def check_room(self, asked: BatchAsked, files: int) -> None:
        """Raise TooLarge for more files than may ever wait, Busy while too many do, but those of `asked`."""
        with self._engine.connect() as connection:
            self._check_room(connection, asked, files)

    def check_waiting(self, connection: sa.Connection, files: int, but: Sequence[str] = ()) -> None:
        """Raise Busy while too many files wait for `files` more; those of the batches `but` do not count."""
        queued = sa.select(sa.func.count()).where(runs.c.state == State.QUEUED, runs.c.batch.is_not(None))
        waiting = connection.execute(queued.where(runs.c.batch.not_in(but))).scalar_one()
        if waiting + files > self._most:
            raise Busy(
                f"{waiting:,} files of batches are waiting",
                f"{files:,} more would be above {self._most:,}",
                "Try again when some are done, or raise DMAPSVC_MAX_BATCH",
            )

    def get(self, batch: str) -> Batch:
        """The batch with this id, with the time left; raises NotFound."""
        now = time.time()
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(batches).where(batches.c.batch == batch)).one_or_none()
            if row is None:
                raise NotFound(
                    f"batch {batch}", "there is no such batch", "List the batches to see which there are"
                )
            counts = _counts(connection, [row]).get(batch, {})
            since = max(row.created, now - _LATELY)
            lately = sa.select(sa.func.count()).where(runs.c.batch == batch, runs.c.ended >= since)
            ended = connection.execute(lately.where(runs.c.state.not_in(LIVE))).scalar_one()
        pace = ended / max(now - since, 1e-3)
        return _batch_of(row, counts, pace)

    def list(self, *, limit: int = 100, cursor: str | None = None) -> BatchPage:
        """The batches, newest first, without the time left; `cursor` is the `next` of the page before."""
        query = sa.select(batches).order_by(batches.c.seq.desc()).limit(limit + 1)
        if cursor is not None:
            query = query.where(batches.c.seq < parse_cursor(cursor))
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
            page, more = rows[:limit], len(rows) > limit
            counts = _counts(connection, page)
        found = tuple(_batch_of(row, counts.get(row.batch, {})) for row in page)
        return BatchPage(batches=found, next=str(page[-1].seq) if more else None)

    def cancel(self, batch: str) -> Batch:
        """Cancel the jobs of a batch that have not ended; those that run stop as soon as they notice.

        What is still being submitted of it goes no further.
        """
        self.get(batch)
        ours = runs.c.batch == batch
        with writing(self._engine) as connection:
            connection.execute(sa.update(batches).where(batches.c.batch == batch).values(cancelled=True))
            begun = sa.and_(ours, runs.c.state == State.QUEUED, runs.c.run.is_not(None))
            known = connection.execute(sa.select(runs).where(begun)).all()  # to the engine; never many
            queued = sa.update(runs).where(ours, runs.c.state == State.QUEUED)
            connection.execute(queued.values(state=State.CANCELLED, ended=time.time()))
            running = sa.update(runs).where(ours, runs.c.state == State.RUNNING)
            connection.execute(running.values(stopping=True))
        self._clear(known, ())
        return self.get(batch)

    def _take(self, cases: Sequence[Sequence[BatchFile]], shelf: Shelf, batch: str) -> Taken | None:
        """Take some cases; None if the batch was cancelled."""
        shelf.check()
        known = self._known(cases, shelf)
        with writing(self._engine) as connection:
            if not _goes_on(connection, batch):
                return None
            taken = take(connection, cases, known, batch)
        if taken.stopped or taken.uploads:
            self._clear(taken.stopped, taken.uploads)
        return taken

    def _known(self, cases: Sequence[Sequence[BatchFile]], shelf: Shelf) -> _Known:
        """The shelf with what `take` will ask of it: read here, for it works while everybody else waits."""
        with self._engine.connect() as connection:
            asked = republished(connection, cases, shelf)
        return _Known(shelf, {case: shelf.revision(case) for case in asked})

    def _check_room(self, connection: sa.Connection, asked: BatchAsked, files: int) -> None:
        if files > self._most:
            raise TooLarge(
                f"a batch of {files:,} files",
                f"this service takes at most {self._most:,} at once",
                "Give a pattern or a folder for a part of them, or raise DMAPSVC_MAX_BATCH",
            )
        self.check_waiting(connection, files, _earlier(connection, asked))


class _Known:
    """A shelf of which some revisions are known.

    One that is old by now does no harm: what was published since was accepted, as a run of that revision.
    """

    def __init__(self, shelf: Shelf, revisions: Mapping[str, int]) -> None:
        self.cases, self.check = shelf.cases, shelf.check
        self._shelf, self._revisions = shelf, revisions

    def revision(self, case: str) -> int:
        """As it is known; read where the queue changed so that it is asked for after all."""
        known = self._revisions.get(case)
        return self._shelf.revision(case) if known is None else known


def parse_cursor(cursor: str) -> int:
    """The place in a list at which a page begins; raises BadInput for what is no `next`."""
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise BadInput(f"cursor {cursor[:60]!r}", "wanted the `next` of the page before")
    return int(cursor)


def _parts(cases: Iterable[Sequence[BatchFile]]) -> Iterator[list[Sequence[BatchFile]]]:
    """The cases, some at a time; what reading them takes is spent outside of any transaction."""
    left = iter(cases)
    while some := list(islice(left, _AT_ONCE)):
        yield some


def _goes_on(connection: sa.Connection, batch: str) -> bool:
    """Whether the batch was not cancelled; raises Conflict if its dataset, and it with it, was deleted."""
    query = sa.select(batches.c.cancelled).where(batches.c.batch == batch)
    cancelled = connection.execute(query).scalar_one_or_none()
    if cancelled is None:
        raise Conflict(
            f"batch {batch}", "its dataset was deleted while it was submitted", "Submit the folder again"
        )
    return not cancelled


def _earlier(connection: sa.Connection, asked: BatchAsked) -> list[str]:
    """The batches of just these folders, whose files that wait are not taken a second time."""
    of_dataset = sa.select(batches).where(batches.c.dataset == asked.dataset)
    before = ((row.batch, BatchAsked.from_json(row.asked)) for row in connection.execute(of_dataset))
    return [batch for batch, other in before if _folders(other) == _folders(asked)]


def _folders(asked: BatchAsked) -> tuple[str, str | None, str | None]:
    return asked.labels, asked.images, asked.pattern


def _counts(connection: sa.Connection, rows: Sequence[Row]) -> dict[str, dict[State, int]]:
    """How many jobs of each of these batches are in each state; reads an index, not the runs."""
    these = runs.c.batch.in_([row.batch for row in rows])
    query = sa.select(runs.c.batch, runs.c.state, sa.func.count().label("count")).where(these)
    found: dict[str, dict[State, int]] = {}
    for row in connection.execute(query.group_by(runs.c.batch, runs.c.state)):
        found.setdefault(row.batch, {})[State(row.state)] = row[2]
    return found


def _batch_of(row: Row, counts: dict[State, int], pace: float = 0.0) -> Batch:
    """The batch of a row; `pace` is how many of its jobs end in a second."""
    live = sum(count for state, count in counts.items() if state.live)
    return Batch(
        id=row.batch,
        asked=BatchAsked.from_json(row.asked),
        created=datetime.fromtimestamp(row.created, UTC),
        submitted=row.submitted,
        cases=row.cases,
        files=row.files,
        published=row.published,
        under_way=row.under_way,
        jobs={state: counts.get(state, 0) for state in State},
        seconds_left=round(live / pace, 1) if live and pace else None,
    )
