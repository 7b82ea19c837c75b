"""`/healthz`: the process lives. `/readyz`: it can take work, so that a balancer may send it some."""

from __future__ import annotations

import uuid
from pathlib import Path

from fastapi import APIRouter

from api.dependencies import JobsOf, SettingsOf
from api.models import Health
from api.problems import NotReady, responses

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Does the process live?")
async def live() -> Health:
    """Answers as long as the process does."""
    return Health(status="alive")


@router.get("/readyz", summary="Can it take work?", responses=responses(NotReady))
def ready(settings: SettingsOf, jobs: JobsOf) -> Health:
    """The database answers, and spool, store and staging can be written."""
    try:
        jobs.ping()
    except Exception as error:
        raise NotReady(
            "the database does not answer", remedy="See that it runs and can be reached"
        ) from error
    for folder in (settings.spool, settings.store, settings.staging):
        _check_writable(folder)
    return Health(status="ready")


def _check_writable(folder: Path) -> None:
    """Raise NotReady unless a byte can be written in `folder`."""
    probe = folder / f".ready-{uuid.uuid4().hex}"
    try:
        try:
            probe.write_bytes(b"?")
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or "it cannot be written"
        raise NotReady(
            f"the data folder's {folder.name}: {reason}", remedy="Mount it writable, with room"
        ) from error
