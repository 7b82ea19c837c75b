"""Collecting garbage once: every kind in its turn. Safe beside a running service, and to be cut short."""

from __future__ import annotations

import time
from contextlib import closing

import sqlalchemy as sa

from dmapsvc.errors import NotFound
from dmapsvc.jobs.database import open_database
from dmapsvc.jobs.retention import Retention
from dmapsvc.keeping.files import broken_off, dead_locks, probes, unclaimed
from dmapsvc.keeping.tally import OLD, Tally, size_of
from dmapsvc.settings import Settings
from dmapsvc.store import DatasetStore, open_store

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
        return [
            _jobs(retention, time.time() - settings.keep_days * _DAY, dry_run=dry_run),
            _workflows(retention, time.time() - OLD, dry_run=dry_run),
            broken_off(settings.spool, dry_run=dry_run),
            unclaimed(settings.spool, retention.needed_uploads, dry_run=dry_run),
            _unpublished(open_store(settings.store_location, settings.staging), dry_run=dry_run),
            dead_locks(settings.locks, dry_run=dry_run),
            probes(settings, dry_run=dry_run),
        ]


def _jobs(retention: Retention, before: float, *, dry_run: bool) -> Tally:
    count, uploads = retention.ended_runs(before)
    tally = Tally(what="jobs that ended long ago", count=count, bytes=sum(map(size_of, uploads)))
    if not dry_run:
        retention.forget_runs(before)
    return tally


def _workflows(retention: Retention, before: float, *, dry_run: bool) -> Tally:
    names = retention.ended_workflows(before)
    if not dry_run:
        retention.forget_workflows(names)
    return Tally(what="ended workflows of the engine", count=len(names))


def _unpublished(store: DatasetStore, *, dry_run: bool) -> Tally:
    left = store.leftovers()
    tally = Tally(what="cases never published", count=len(left), bytes=sum(map(size_of, left)))
    if not dry_run:
        store.sweep()
    return tally
