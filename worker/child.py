"""The process that runs jobs: it lives as long as its parent, and ends when that says so or is gone.

Its standard input is the line to the parent: one line of settings, and later its end.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from dmapsvc.errors import DatabaseAway, DeviceFull, DeviceLost, DmapsvcError
from dmapsvc.settings import Settings
from dmapsvc.telemetry.logs import start_logging
from dmapsvc.telemetry.tracing import start_tracing, stop_tracing
from worker.gpu import take_gpu
from worker.supervisor import CANNOT_START

if TYPE_CHECKING:
    from dmapsvc.jobs.executor import Executor

_ABANDONED = 10.0  # seconds from the parent's word to the end, whatever still runs

_log = logging.getLogger("worker")


def main() -> None:
    """Run jobs until standard input ends; ends the process."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # the parent's to hear: it closes the line
    code = 1
    try:
        settings = Settings(**json.loads(sys.stdin.readline()))
        start_logging("worker", settings.log)
        start_tracing("worker")
        code = _serve(settings, _stop_with_parent())
    except Exception:
        _log.exception("the worker failed")
    finally:
        stop_tracing()
        logging.shutdown()
        os._exit(code)  # threads of the engine are left waiting, see Executor.serve


def _serve(settings: Settings, stop: threading.Event) -> int:
    try:
        take_gpu(settings)
        executor = _prepare(settings)
    except (
        DatabaseAway,
        DeviceFull,
        DeviceLost,
    ) as error:  # a process that is started later may find it mended
        _log.error("%s", error)
        return 1
    except DmapsvcError as error:
        print(f"worker: {error}", file=sys.stderr)
        return CANNOT_START
    from dmapsvc.keeping.housekeeper import start_housekeeping  # heavy, as what _prepare imports

    start_housekeeping(settings, stop)
    try:
        executor.serve(stop)
    except DmapsvcError as error:
        _log.error("%s", error)
        return 1
    return 0


def _prepare(settings: Settings) -> Executor:
    # Imported here, not above: a signal during these slow imports is ignored already, and CuPy, which zarr
    # imports where it is installed, sees the GPU that was taken.
    from dmapsvc.jobs.executor import Executor
    from worker.cases import Cases, memory_of
    from worker.device import describe
    from worker.metrics import Metrics

    cases = Cases(settings)
    metrics = Metrics(cases.backend)
    metrics.serve(settings)
    work = metrics.measured(cases.run)
    memory = partial(memory_of, backend=cases.backend, settings=settings)
    executor = Executor(settings, work, memory=memory, device=partial(describe, cases.backend))
    _log.info("ready: backend %s, %d jobs side by side", cases.backend, settings.concurrency)
    return executor


def _stop_with_parent() -> threading.Event:
    """An event that is set when standard input ends, by the kernel's hand if the parent was killed."""
    stop = threading.Event()

    def watch() -> None:
        sys.stdin.read()
        stop.set()
        time.sleep(_ABANDONED)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    return stop


if __name__ == "__main__":
    main()
