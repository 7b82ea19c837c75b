"""`Executor`: takes runs from the queue and does them until it is told to stop. A process has one.

What a run does is the function that is handed in. What becomes of the runs of a dead worker is in
`recovery.py`.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
import uuid
from collections.abc import Callable

from dbos import DBOS, DBOSClient, DBOSConfig, Queue
from dbos import error as engine_error

from dmapsvc.errors import DeviceLost, DmapsvcError, Problem, Stalled, Superseded, TooLarge
from dmapsvc.jobs.database import APPLICATION, QUEUE, SERIALIZER, VERSION, open_database, relaxed
from dmapsvc.jobs.engine import WORKFLOW, remove_uploads
from dmapsvc.jobs.feeder import Feeder
from dmapsvc.jobs.ledger import HICCUPS, Ledger
from dmapsvc.jobs.locks import take_lock
from dmapsvc.jobs.pace import Pace
from dmapsvc.jobs.record import Device, Request
from dmapsvc.jobs.recovery import release_claims, take_over_dead
from dmapsvc.jobs.run import HandedBack, Outcome, Run
from dmapsvc.jobs.table import Row
from dmapsvc.jobs.watchdog import LockGuard, Watchdog
from dmapsvc.jobs.workers import Heartbeat
from dmapsvc.room import Room
from dmapsvc.settings import Settings
from dmapsvc.telemetry.context import about

Work = Callable[[Run], Outcome]

_SWEEP = 1.0  # seconds between looks for workers that died
_GRACE = 5.0  # seconds that runs have to notice that the worker stops
_PAUSE = 0.5  # seconds before the second attempt; doubled for each one after

_log = logging.getLogger(__name__)


class Executor:
    """Does the runs of the queue with `work`, `settings.concurrency` of them side by side.

    `work` publishes what its Run asks for and returns an Outcome; it must call `progress` now and then, and
    raise DmapsvcError for what it can name. `memory`: bytes that running a request takes, or a DmapsvcError
    where its file, which a batch has not opened, cannot be run. `device`: what it computes on,
    as it is now.
    """

    def __init__(
        self,
        settings: Settings,
        work: Work,
        *,
        memory: Callable[[Request], int],
        device: Callable[[], Device],
    ) -> None:
        self._settings = settings
        self._work = work
        self._memory = memory
        self._room = Room(settings.memory_budget_bytes)
        self._stopping = threading.Event()
        self._lost: DeviceLost | Stalled | None = None
        self._watchdog = Watchdog(settings.stall_seconds, self._stalled)
        self._engine = open_database(settings)
        self._relaxed = relaxed(self._engine)
        self._client = DBOSClient(
            system_database_engine=self._relaxed, serializer=SERIALIZER, application_name=APPLICATION
        )
        self._ledger = Ledger(self._engine, uuid.uuid4().hex, relaxed=self._relaxed)
        self._heart = Heartbeat(
            self._relaxed, self._ledger.executor, concurrency=settings.concurrency, device=device
        )

    def serve(self, stop: threading.Event) -> None:
        """Run until `stop` is set; what runs then goes back to the queue.

        Raises DeviceLost if the device is, and Stalled if a run stands still, with the runs back in the
        queue. The process must end with `os._exit` afterwards: threads of the engine are left waiting. It is
        ended here, at once, if this worker's lock is lost.
        """
        lease = self._settings.lease_seconds
        lock = take_lock(self._ledger.executor, self._engine, self._settings.locks, lease=lease)
        assert lock is not None, "an executor's id is its own"
        guard = LockGuard(lock)
        guard.start()
        self._watchdog.start()
        pace = Pace(self._relaxed, self._register_queue(), self._settings.poll_seconds)
        engine = self._launch()
        Feeder(self._relaxed, self._client, self._stopping).start()
        while self._lost is None:
            self._sweep(pace)
            if stop.wait(_SWEEP):
                break
        self._hand_back(engine)
        guard.stop()
        lock.release()
        if self._lost is not None:
            raise self._lost

    def _sweep(self, pace: Pace) -> None:
        try:
            self._heart.beat()
            pace.keep()
            take_over_dead(self._ledger, self._engine, self._settings)
        except HICCUPS as error:
            _log.warning("the queue's database does not answer: %s", error.args[0])

    def _register_queue(self) -> Queue:
        """Make the queue known to the engine; the worker that starts last says how it is polled."""
        return self._client.register_queue(
            QUEUE,
            worker_concurrency=self._settings.concurrency,
            polling_interval_sec=self._settings.poll_seconds,
        )

    def _launch(self) -> DBOS:
        config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_engine": self._relaxed,
            "application_version": VERSION,
            "executor_id": self._ledger.executor,
            "serializer": SERIALIZER,
            "log_level": "WARNING",
            "enable_otlp": False,
            "run_migrations": False,
        }
        engine = DBOS(config=config)

        @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=None)
        def perform(run: str) -> None:
            self._perform(run)

        logging.getLogger("dbos").addFilter(_is_news)
        DBOS.listen_queues([QUEUE])
        DBOS.launch()
        return engine

    def _perform(self, name: str) -> None:
        """Do the run, unless it is not wanted any more.

        While the worker stops this does not return, and else not before the run has ended: what returns or
        raises is finished for the engine, which never runs it again.
        """
        row = self._ledger.find(name)
        if row is None:
            return
        with about(request=row.request.get("request_id"), job=row.job, run=str(row.n)):
            self._do(row)

    def _do(self, row: Row) -> None:
        """Do the run of `row`; what `_perform` says holds."""
        name = row.run
        try:
            self._enter(Run(row, self._settings.spool, self._ledger, self._stopping), alone=row.alone)
        except HandedBack:
            threading.Event().wait()
        except Exception:
            _log.exception("failed %s/%s", row.dataset, row.case_name)
            problem = _internal(row.request["filename"])
            if not self._ledger.failed(name, problem, keep_upload=True):
                self._ledger.refused(name, problem, keep_upload=True)

    def _enter(self, run: Run, *, alone: bool) -> None:
        """Do the run as soon as there is room for it."""
        size = self._size(run)
        if size is None:
            return
        try:
            with self._room.hold(size, alone=alone, give_up=self._stopping.is_set) as entered:
                if not entered:
                    raise HandedBack
                self._try(run)
        except DmapsvcError as error:
            self._fail(run, error.problem, keep_upload=False)

    def _size(self, run: Run) -> int | None:
        """Bytes of memory that the run takes; None if it cannot begin, and was refused."""
        for attempt in itertools.count():
            if self._stopping.wait(_PAUSE * 2 ** (attempt - 1) if attempt else 0):
                raise HandedBack
            try:
                size = self._memory(run.request)
                break
            except DmapsvcError as error:
                if error.permanent or attempt + 1 == self._settings.attempts:
                    self._refuse(run, error, keep_upload=not error.permanent)
                    return None
        try:
            self._room.check(size, run.request.filename)
        except TooLarge as error:  # for this worker: another may have the room
            self._refuse(run, error, keep_upload=True)
            return None
        return size

    def _refuse(self, run: Run, error: DmapsvcError, *, keep_upload: bool) -> None:
        if self._ledger.refused(run.name, error.problem, keep_upload=keep_upload) and not keep_upload:
            remove_uploads(self._settings.spool, [run.request.spool])

    def _try(self, run: Run) -> None:
        """Attempt the run until it ends, `settings.attempts` times at most."""
        for attempt in itertools.count():
            if self._stopping.wait(_PAUSE * 2 ** (attempt - 1) if attempt else 0):
                raise HandedBack
            if not self._ledger.begin(run.name):
                return
            problem = self._attempt(run)
            if problem is None:
                return
            if attempt + 1 == self._settings.attempts:
                self._fail(run, problem, keep_upload=True)
                return

    def _attempt(self, run: Run) -> Problem | None:
        """One attempt; why it failed if another may mend it. Raises the errors that none can."""
        request, start = run.request, time.monotonic()
        what = f"{request.kind} {request.dataset}/{request.case} {run.name[:8]}.{run.name.rpartition('.')[2]}"
        _log.info("start %s", what)
        try:
            with self._watchdog.watching(run):
                outcome = self._work(run)
        except HandedBack:
            _log.info("handed back %s", what)
            raise
        except Superseded as error:
            if self._ledger.superseded(run.name, error.problem):
                remove_uploads(self._settings.spool, [request.spool])
            _log.info("cancelled %s", what)
        except DeviceLost as error:
            _log.error("lost the device in %s: %s", what, error)
            self._lose(run, error)
            raise HandedBack from None
        except DmapsvcError as error:
            _log.warning("failed %s: %s", what, error)
            if error.permanent:
                raise
            return error.problem
        except Exception:
            _log.exception("failed %s", what)
            return _internal(request.filename)
        else:
            if self._ledger.done(run.name, _json(outcome)):
                remove_uploads(self._settings.spool, [request.spool])
            _log.info("done %s in %.2f s", what, time.monotonic() - start)
        return None

    def _stalled(self, run: Run) -> None:
        error = Stalled(
            f"{run.request.filename}: no progress for {self._settings.stall_seconds:.4g} s",
            remedy="Try again, or give jobs more time with DMAPSVC_STALL_SECONDS",
        )
        _log.error("%s", error)
        self._lose(run, error)

    def _lose(self, run: Run, error: DeviceLost | Stalled) -> None:
        """Count the loss against the run, and stop: nothing more can run on the device in this process."""
        self._stopping.set()
        self._ledger.lost(run.name, error.problem, self._settings.attempts)
        self._lost = error

    def _fail(self, run: Run, problem: Problem, *, keep_upload: bool) -> None:
        if self._ledger.failed(run.name, problem, keep_upload=keep_upload) and not keep_upload:
            remove_uploads(self._settings.spool, [run.request.spool])

    def _hand_back(self, engine: DBOS) -> None:
        """Stop taking runs, give those that run some seconds to notice, and put them back into the queue."""
        self._stopping.set()
        for event in engine.background_thread_stop_events:
            event.set()
        self._room.wait_empty(_GRACE)
        self._ledger.hand_back()
        release_claims(self._ledger.executor)
        self._heart.end()


def _json(outcome: Outcome) -> dict[str, object]:
    hashed = {} if outcome.sha256 is None else {"sha256": outcome.sha256}
    return {
        "notes": list(outcome.notes),
        "seconds": outcome.seconds,
        "backend": outcome.backend,
        **hashed,
    }


def _internal(filename: str) -> Problem:
    """The problem of an error nobody foresaw; what it was is in the log, and nobody else's business."""
    return Problem(
        type="/problems/internal-error",
        title="The service failed",
        status=500,
        detail=f"{filename}: the worker failed for a reason it does not know. Try again; its log says more.",
    )


def _is_news(record: logging.LogRecord) -> bool:
    """False for what the engine says of a run that was cancelled or taken over while it was claimed."""
    error = record.exc_info[1] if record.exc_info else None
    return not (
        isinstance(error, engine_error.DBOSAwaitedWorkflowCancelledError)
        or "no longer owned by this execution" in record.getMessage()
    )
