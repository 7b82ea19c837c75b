"""Collecting garbage once: every kind in its turn. Safe beside a running service, and to be cut short."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

import sqlalchemy as sa

from dmapsvc.errors import DmapsvcError, NotFound
from dmapsvc.jobs.database import open_database
from dmapsvc.jobs.retention import Retention
from dmapsvc.keeping.files import broken_off, dead_locks, probes, unclaimed
from dmapsvc.keeping.tally import OLD, Found, Tally, size_of
from dmapsvc.settings import Settings
from dmapsvc.store import open_store

_DAY = 86_400.0  # seconds


def collect(settings: Settings, *, dry_run: bool = False) -> list[Tally]:
    """Remove what the service of `settings` no longer needs, or with `dry_run` only look; a Tally each kind.

    Raises NotFound if there is no service's folder, BadInput for a database that cannot be used.
    """
    if not settings.data.is_dir():
        raise NotFound(
            f"{settings.data}: no such folder", "wanted the folder of a service", "Set DMAPSVC_DATA"
        )
    engine = open_database(settings)
    try:
        return collect_with(engine, settings, dry_run=dry_run)
    finally:
        engine.dispose()


def collect_with(engine: sa.Engine, settings: Settings, *, dry_run: bool = False) -> list[Tally]:
    """The same over a database that is open."""
    with closing(Retention(engine, settings.spool)) as retention:
        ended, old = time.time() - settings.keep_days * _DAY, time.time() - OLD
        kinds: dict[str, Callable[[], Found]] = {
            "jobs that ended long ago": lambda: _jobs(retention, ended, dry_run=dry_run),
            "ended workflows of the engine": lambda: _workflows(retention, old, dry_run=dry_run),
            "uploads that broke off": lambda: broken_off(settings.spool, dry_run=dry_run),
            "uploads of no job": lambda: unclaimed(settings.spool, retention.needed_uploads, dry_run=dry_run),
            "cases never published": lambda: _unpublished(settings, dry_run=dry_run),
            "locks of dead workers": lambda: dead_locks(settings.locks, dry_run=dry_run),
            "temporary files": lambda: probes(settings, dry_run=dry_run),
        }
        return [_tally(what, look) for what, look in kinds.items()]


def _tally(what: str, look: Callable[[], Found]) -> Tally:
    """What `look` found; whatever stops it stops no other kind."""
    try:
        count, size = look()
    except Exception as error:
        reason = error.detail if isinstance(error, DmapsvcError) else type(error).__name__
        return Tally(what=what, fault=getattr(error, "strerror", None) or reason)
    return Tally(what=what, count=count, bytes=size)


def _jobs(retention: Retention, before: float, *, dry_run: bool) -> Found:
    count, uploads = retention.ended_runs(before)
    found = Found(count, sum(map(size_of, uploads)))
    if not dry_run:
        retention.forget_runs(before)
    return found


def _workflows(retention: Retention, before: float, *, dry_run: bool) -> Found:
    names = retention.ended_workflows(before)
    if not dry_run:
        retention.forget_workflows(names)
    return Found(len(names))


def _unpublished(settings: Settings, *, dry_run: bool) -> Found:
    store = open_store(settings.store_location, settings.staging)
    here, there = store.leftovers(), store.left_in_bucket()
    found = Found(len(here) + len(there), sum(map(size_of, here)) + sum(stray.size for stray in there))
    if not dry_run:
        store.sweep()
    return found
