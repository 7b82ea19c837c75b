"""Collecting garbage now and then, in a thread of a worker; one worker of a service at a time."""

from __future__ import annotations

import logging
import threading

from dmapsvc.jobs.database import open_database
from dmapsvc.jobs.locks import take_lock
from dmapsvc.keeping.collector import collect_with
from dmapsvc.settings import Settings

_FIRST = 60.0  # seconds until the first time, chosen: a worker that starts has better things to do

_log = logging.getLogger(__name__)


def start_housekeeping(settings: Settings, stop: threading.Event) -> None:
    """Collect every `settings.gc_seconds` until `stop` is set, or the process ends."""
    threading.Thread(target=_keep, args=(settings, stop), name="housekeeping", daemon=True).start()


def _keep(settings: Settings, stop: threading.Event) -> None:
    pause = min(_FIRST, settings.gc_seconds)
    while not stop.wait(pause):
        pause = settings.gc_seconds
        try:
            _collect(settings)
        except Exception as error:  # a full disk, a database away: the next time may do
            _log.warning("could not collect garbage: %s", error)


def _collect(settings: Settings) -> None:
    engine = open_database(settings)
    try:
        lock = take_lock("housekeeping", engine, settings.locks)
        if lock is None:
            return  # another worker is at it
        try:
            tallies = collect_with(engine, settings)
        finally:
            lock.release()
    finally:
        engine.dispose()
    for tally in tallies:
        if tally.fault is not None:
            _log.warning("could not collect %s: %s", tally.what, tally.fault)
    if said := ", ".join(f"{tally.count} {tally.what}" for tally in tallies if tally.count):
        _log.info("removed %s", said)
