"""`Jobs`: accept, ask, cancel, retry, forget. What a service's front does with the queue; it runs nothing.

Two things are kept of a run, in one database: its row in `dmapsvc_runs` and a workflow of the engine (DBOS),
`<job>.<n>`. An upload is given both in the transaction that accepts it; what else waits is given its workflow
when it comes to the head of the line (`feeder.py`). **The row rules**: what a job's state is, and whether a
run may start, go on or publish, is read from it alone. The engine decides only which worker takes which run,
and when; a workflow whose row has ended, or is gone, ends without doing anything.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

import sqlalchemy as sa
from dbos import DBOSClient, EnqueueOptions
from dbos import error as engine_error

from dmapsvc.errors import Busy, Conflict, NotFound
from dmapsvc.jobs.acceptance import check_rivals, next_revision, release, rivals_of, same_of, stop
from dmapsvc.jobs.batches import Batches, parse_cursor
from dmapsvc.jobs.census import Census, take_census
from dmapsvc.jobs.database import APPLICATION, QUEUE, SERIALIZER, VERSION, open_database, writing
from dmapsvc.jobs.record import Job, Kind, Page, Request, State, Worker
from dmapsvc.jobs.table import LIVE, UPLOAD_PRIORITY, Row, batches, job_of, positions, runs
from dmapsvc.jobs.workers import list_workers
from dmapsvc.settings import Settings

WORKFLOW = "dmapsvc-run"

_log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5  # seconds between looks at a job that is waited for


class Jobs:
    """The queue of the service with these settings; a context manager. Safe to use from any thread.

    Opening it makes the database if there is none; raises BadInput for one that cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine = open_database(settings)
        self._client = DBOSClient(
            system_database_engine=self._engine, serializer=SERIALIZER, application_name=APPLICATION
        )

        self.batches = Batches(self._engine, most=settings.max_batch, clear=self._clear)

    def __enter__(self) -> Jobs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._client.destroy()
        self._engine.dispose()

    def ping(self) -> None:
        """Raise an SQLAlchemyError unless the database answers."""
        with self._engine.connect() as connection:
            connection.execute(sa.select(runs.c.seq).limit(1))

    def check_room(self) -> None:
        """Raise Busy when the queue is full."""
        with self._engine.connect() as connection:
            self._check_room(connection)

    def census(self) -> Census:
        """How many jobs there are in each state, and for how long the oldest waits."""
        with self._engine.connect() as connection:
            return take_census(connection)

    def workers(self) -> list[Worker]:
        """Who runs the jobs, the longest-serving first."""
        with self._engine.connect() as connection:
            return list_workers(connection)

    def submit(self, request: Request, *, published_revision: int = 0) -> tuple[Job, bool]:
        """The job of `request`, and whether its run now owns the file in the spool.

        A run of the same job that has not ended is that job, and takes the file only if it lost its own
        before it began; else the job runs (again). Another mask of the case
        that has not ended, or the same one with another spacing, is Conflict, or is cancelled if
        `request.replace`; another image is cancelled.
        `published_revision` is the case's in the store. Raises Busy when the queue is full. After an
        error of the database it may have been accepted all the same: see `owns`.
        """
        with writing(self._engine) as connection:
            rivals = rivals_of(connection, request)
            if (same := same_of(request, rivals)) is not None:
                return self._job(connection, same), self._adopt(connection, same, request)
            job, spent = self._accept(connection, request, rivals, published_revision)
        self._clear(rivals, spent)
        return job, True

    def owns(self, request: Request) -> bool:
        """Whether a run has the upload of `request`, once whoever accepts a job now has come to an end."""
        its = sa.exists().where(runs.c.job == request.id, runs.c.spool == request.spool)
        with writing(self._engine) as connection:
            return bool(connection.execute(sa.select(its)).scalar_one())

    def get(self, job: str) -> Job:
        """The job with this id; raises NotFound."""
        with self._engine.connect() as connection:
            return self._job(connection, _latest(connection, job))

    def list(
        self,
        *,
        dataset: str | None = None,
        case: str | None = None,
        state: State | None = None,
        batch: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """The jobs that fit, newest first; `cursor` is the `next` of the page before, else BadInput."""
        query = sa.select(runs).where(runs.c.latest)
        given = {"dataset": dataset, "case_name": case, "state": state, "batch": batch}
        for column, value in ((runs.c[name], value) for name, value in given.items()):
            if value is not None:
                query = query.where(column == value)
        if cursor is not None:
            query = query.where(runs.c.seq < parse_cursor(cursor))
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(runs.c.seq.desc()).limit(limit + 1)).all()
            page, more = rows[:limit], len(rows) > limit
            places = positions(connection, page)
        jobs = tuple(job_of(row, places.get(row.seq)) for row in page)
        return Page(jobs=jobs, next=str(page[-1].seq) if more else None)

    def live(self, dataset: str, case: str) -> Sequence[Job]:
        """The jobs of a case that have not ended, newest first."""
        query = sa.select(runs).where(
            runs.c.dataset == dataset, runs.c.case_name == case, runs.c.state.in_(LIVE)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(runs.c.seq.desc())).all()
            return [self._job(connection, row) for row in rows]

    def has_live(self, dataset: str, kind: Kind) -> bool:
        """Whether a job of this kind for any case of the dataset has not ended."""
        found = sa.exists().where(runs.c.dataset == dataset, runs.c.kind == kind, runs.c.state.in_(LIVE))
        with self._engine.connect() as connection:
            return bool(connection.execute(sa.select(found)).scalar_one())

    def wait(self, job: str, seconds: float) -> Job:
        """The job once it has ended, or after `seconds`."""
        end, pause = time.monotonic() + seconds, _FIRST_PAUSE
        while (now := self.get(job)).state.live and (left := end - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)
        return now

    def cancel(self, job: str) -> Job:
        """Cancel a job: at once if it is queued, as soon as its worker notices if it runs.

        A run that publishes before it notices is done. A job that has ended stays as it is. The upload is
        kept for `retry`, until a newer job of the case is accepted.
        """
        with writing(self._engine) as connection:
            row = _latest(connection, job)
            stop(connection, [row], keep_uploads=True)
        self._clear([row], ())
        return self.get(job)

    def retry(self, job: str, *, published_revision: int = 0) -> Job:
        """Run a failed or cancelled job again, from its upload; `published_revision` as in `submit`.

        That is kept of a job that was cancelled by its id, and of one whose failure trying again can mend.
        Raises Conflict for a job in another state, one whose upload is gone, and one whose case has another
        mask in the queue; NotFound; Busy.
        """
        with writing(self._engine) as connection:
            row = _latest(connection, job)
            if row.state not in (State.FAILED, State.CANCELLED):
                raise Conflict(f"job {job} is {row.state}", "only a failed or cancelled job is run again")
            if not self._has_file(row):
                raise Conflict(
                    f"job {job}: its upload is gone",
                    "it is kept after a cancel or a failure that trying again can mend, until a newer comes",
                    "Upload the file again",
                )
            request = Request.from_json(row.request)
            rivals = rivals_of(connection, request)
            again, spent = self._accept(connection, request, rivals, published_revision, again=row)
        self._clear(rivals, spent)
        return again

    def forget(self, dataset: str, case: str | None = None) -> None:
        """Cancel the jobs of a dataset, or of one case, and drop their records and uploads."""
        query = sa.delete(runs).where(runs.c.dataset == dataset)
        if case is not None:
            query = query.where(runs.c.case_name == case)
        with writing(self._engine) as connection:
            rows = connection.execute(query.returning(runs)).all()
            if case is None:
                connection.execute(sa.delete(batches).where(batches.c.dataset == dataset))
        self._clear(rows, [row.spool for row in rows if row.spool])

    def _adopt(self, connection: sa.Connection, row: Row, request: Request) -> bool:
        """Give the run of `row` the upload of `request` if it waits without its own; whether it did."""
        if row.state != State.QUEUED or self._has_file(row):
            return False
        asked = {**row.request, "spool": request.spool}
        connection.execute(
            sa.update(runs).where(runs.c.seq == row.seq).values(spool=request.spool, request=asked)
        )
        return True

    def _accept(
        self,
        connection: sa.Connection,
        request: Request,
        rivals: Sequence[Row],
        published_revision: int,
        again: Row | None = None,
    ) -> tuple[Job, Sequence[str]]:
        """Enqueue a run in place of `rivals`; its job, and the uploads that nobody needs now.

        It has the priority and the batch of the run that it is `again`, or else an upload's.
        """
        check_rivals(request, rivals)
        if again is None or again.priority == UPLOAD_PRIORITY:
            self._check_room(connection)
        else:
            self.batches.check_waiting(connection, 1)
        spent = stop(connection, rivals) + release(connection, request)
        revision = next_revision(connection, request, published_revision)
        row = self._enqueue(connection, request, revision, again)
        return self._job(connection, row), [name for name in spent if name != request.spool]

    def _enqueue(self, connection: sa.Connection, request: Request, revision: int, again: Row | None) -> Row:
        older = runs.c.job == request.id
        connection.execute(sa.update(runs).where(older).values(latest=False, batch=None))
        n = connection.execute(sa.select(sa.func.max(runs.c.n)).where(older)).scalar() or 0
        values = {
            "run": f"{request.id}.{n + 1}",
            "job": request.id,
            "n": n + 1,
            "latest": True,
            "kind": request.kind,
            "dataset": request.dataset,
            "case_name": request.case,
            "revision": revision,
            "request": request.stamped().to_json(),
            "spool": request.spool,
            "state": State.QUEUED,
            "priority": UPLOAD_PRIORITY if again is None else again.priority,
            "batch": None if again is None else again.batch,
            "created": time.time(),
        }
        row = connection.execute(sa.insert(runs).values(values).returning(runs)).one()
        return enqueue(self._client, connection, row, row.n)

    def _has_file(self, row: Row) -> bool:
        """Whether the run's upload is kept; of a file of a batch the worker finds out."""
        if row.request.get("source") is not None:
            return True
        return row.spool is not None and (self._settings.spool / row.spool).is_file()

    def _check_room(self, connection: sa.Connection) -> None:
        """Raise Busy while too many uploads wait; batches, which let them pass, have a limit of their own."""
        uploads = sa.and_(runs.c.state == State.QUEUED, runs.c.priority == UPLOAD_PRIORITY)
        waiting = sa.select(sa.func.count()).where(uploads)
        if connection.execute(waiting).scalar_one() >= self._settings.max_queue:
            raise Busy(
                f"{self._settings.max_queue} jobs are waiting",
                "no more are taken now",
                "Try again when some are done, or raise DMAPSVC_MAX_QUEUE",
            )

    def _clear(self, rows: Iterable[Row], spent: Iterable[str]) -> None:
        """Take `rows` that were queued out of the engine's queue, and remove uploads.

        What called for this is committed, so that it must not fail. Nothing is lost if it is cut short: their
        workflows would end by themselves, and uploads of no job are collected (`dmapsvc.keeping`).
        """
        try:
            if queued := [row.run for row in rows if row.state == State.QUEUED and row.run]:
                self._client.cancel_workflows(queued)
            remove_uploads(self._settings.spool, spent)
        except Exception as error:
            _log.warning("could not clear up after jobs that were stopped: %s", error)

    @staticmethod
    def _job(connection: sa.Connection, row: Row) -> Job:
        return job_of(row, positions(connection, [row]).get(row.seq))


def enqueue(client: DBOSClient, connection: sa.Connection, row: Row, n: int) -> Row:
    """Give the run of `row` a workflow, as its job's `n`-th or a later one, in this transaction; its row."""
    options: EnqueueOptions = {
        "workflow_name": WORKFLOW,
        "queue_name": QUEUE,
        "workflow_id_reuse_policy": "reject",
        "app_version": VERSION,
        "priority": _rank(row),
    }
    while True:  # the engine still knows the runs of a job that was forgotten
        run = f"{row.job}.{n}"
        try:
            client.enqueue_in_transaction(connection, {**options, "workflow_id": run}, run)
            break
        except engine_error.DBOSWorkflowIDInUseError:
            n += 1
    if run == row.run:
        return row
    named = sa.update(runs).where(runs.c.seq == row.seq).values(run=run, n=n)
    return connection.execute(named.returning(runs)).one()


def _rank(row: Row) -> int:
    """A run's place in the line as the engine's priority: by itself it orders by the second of arrival."""
    priority: int = row.priority  # 0 to 15, so that this ends at 2³¹ - 1
    seq: int = row.seq
    return 1 + priority * 2**27 + seq % (2**27 - 1)


def remove_uploads(spool: Path, names: Iterable[str | None]) -> None:
    """Remove files from the spool; one that is gone already is fine, and so is None: no upload at all."""
    for name in filter(None, names):
        (spool / name).unlink(missing_ok=True)


def _latest(connection: sa.Connection, job: str) -> Row:
    row = connection.execute(sa.select(runs).where(runs.c.job == job, runs.c.latest)).one_or_none()
    if row is None:
        raise NotFound(f"job {job}", "there is no such job", "List the jobs to see which there are")
    return row
