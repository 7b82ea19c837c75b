"""`/healthz`: the process lives. `/readyz`: it can take work, so that a balancer may send it some."""

from __future__ import annotations

import uuid

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
    """The database answers and the data folder can be written."""
    probe = settings.spool / f".ready-{uuid.uuid4().hex}"
    try:
        jobs.ping()
    except Exception as error:
        raise NotReady(
            "the database does not answer", remedy="See that it runs and can be reached"
        ) from error
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = error.strerror or "it cannot be written"
        raise NotReady(f"the data folder: {reason}", remedy="Mount it writable, with room") from error
    return Health(status="ready")
