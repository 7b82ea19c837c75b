"""Workers: who runs the jobs."""

from __future__ import annotations

from fastapi import APIRouter

from api.dependencies import JobsOf
from api.models import WorkerList

router = APIRouter(prefix="/v1/workers", tags=["workers"])


@router.get("", summary="List the workers")
def list_workers(jobs: JobsOf) -> WorkerList:
    """The workers, the longest-serving first; one that died is listed as away until another notices."""
    return WorkerList(workers=jobs.workers())
