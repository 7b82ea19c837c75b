"""`/healthz`: the process lives. `/readyz`: it can take work, so that a balancer may send it some."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fastapi import APIRouter

from api.dependencies import JobsOf, LibraryOf, SettingsOf
from api.models import Health
from api.problems import NotReady, responses

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Does the process live?")
async def live() -> Health:
    """Answers as long as the process does."""
    return Health(status="alive")


@router.get("/readyz", summary="Can it take work?", responses=responses(NotReady))
def ready(settings: SettingsOf, library: LibraryOf, jobs: JobsOf) -> Health:
    """The database answers, and spool, staging and store can be written."""
    try:
        jobs.ping()
    except Exception as error:
        raise NotReady(
            "the database does not answer", remedy="See that it runs and can be reached"
        ) from error
    _check_writable("the data folder's spool", partial(_write_probe, settings.spool))
    _check_writable("the data folder's staging", partial(_write_probe, settings.staging))
    _check_writable("the store", library.store.check_writable)
    return Health(status="ready")


def _check_writable(what: str, write: Callable[[], None]) -> None:
    """Raise NotReady unless `write`, which writes a byte to `what`, can."""
    try:
        write()
    except OSError as error:
        reason = error.strerror or "it cannot be written"
        raise NotReady(f"{what}: {reason}", remedy="Mount it writable, with room") from error


def _write_probe(folder: Path) -> None:
    probe = folder / f".ready-{uuid.uuid4().hex}"
    try:
        probe.write_bytes(b"?")
    finally:
        probe.unlink(missing_ok=True)
