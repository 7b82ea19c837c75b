"""Jobs: list, one (now, or as soon as it ends), the same as events, cancel, run again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import TypeAdapter
from sse_starlette import EventSourceResponse, ServerSentEvent

from api.dependencies import JobId, JobsOf, LibraryOf
from api.library import record_of
from api.models import JobList
from api.problems import responses
from dmapsvc.errors import Busy, Conflict, NotFound
from dmapsvc.jobs import Job, State
from dmapsvc.jobs.engine import Jobs

LONGEST_WAIT = 300.0  # seconds; chosen: most proxies hang up sooner anyway
HEARTBEAT = 15  # seconds between comments that keep a silent event stream open
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5  # seconds between looks at a job that is waited for
LATENESS = 0.05  # of the time waited: how late its end may be noticed in between

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_job_json = TypeAdapter(Job)


@router.get("", summary="List jobs", responses=responses())
def list_jobs(
    jobs: JobsOf,
    dataset: Annotated[str | None, Query(description="Only those of this dataset.")] = None,
    case: Annotated[str | None, Query(description="Only those of this case.")] = None,
    state: Annotated[State | None, Query(description="Only those in this state.")] = None,
    batch: Annotated[str | None, Query(description="Only those of this batch.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(description="`next` of the page before.")] = None,
) -> JobList:
    """The latest run of each job, newest first."""
    page = jobs.list(dataset=dataset, case=case, state=state, batch=batch, limit=limit, cursor=cursor)
    return JobList(jobs=list(page.jobs), next=page.next)


@router.get("/{job}", summary="One job", responses=responses(NotFound))
async def get_job(
    request: Request,
    job: JobId,
    jobs: JobsOf,
    wait: Annotated[
        float,
        Query(
            ge=0, le=LONGEST_WAIT, allow_inf_nan=False, description="Seconds to wait for its end, at most."
        ),
    ] = 0.0,
) -> Job:
    """A job's latest run with its state, place in the queue, stage, percent, and why it failed."""
    began = time.monotonic()
    while True:
        now = await run_in_threadpool(jobs.get, job)
        waited = time.monotonic() - began
        if now.ended is not None or waited >= wait or await request.is_disconnected():
            return now
        pause = min(max(FIRST_PAUSE, LATENESS * waited), LONGEST_PAUSE)
        await asyncio.sleep(min(pause, wait - waited))


@router.get(
    "/{job}/events",
    summary="A job as events",
    response_class=EventSourceResponse,
    responses={
        200: {
            "description": "Events `job`, each with the job as JSON, when it changed; ends with the job.",
            "content": {"text/event-stream": {}},
        },
        **responses(NotFound),
    },
)
async def follow_job(job: JobId, jobs: JobsOf) -> EventSourceResponse:
    """The job as server-sent events, for a page that shows its progress."""
    first = await run_in_threadpool(jobs.get, job)
    return EventSourceResponse(_events(jobs, first), ping=HEARTBEAT)


@router.delete("/{job}", summary="Cancel a job", responses=responses(NotFound))
def cancel_job(job: JobId, jobs: JobsOf) -> Job:
    """Cancel a job that waits or runs; one that ended stays as it is. Its upload is kept for a retry."""
    return jobs.cancel(job)


@router.post(
    "/{job}/retry",
    status_code=202,
    summary="Run a job again",
    responses=responses(NotFound, Conflict, Busy),
)
def retry_job(job: JobId, jobs: JobsOf, library: LibraryOf) -> Job:
    """Run a failed or cancelled job again, from its upload.

    That is kept until a newer one of the case is accepted, unless the file itself was at fault.
    """
    before = jobs.get(job)
    record = record_of(library.find(before.dataset), before.case, even_damaged=True)
    return jobs.retry(job, published_revision=0 if record is None else record.revision)


async def _events(jobs: Jobs, job: Job) -> AsyncIterator[ServerSentEvent]:
    """`job` at once, and each time it has changed, until it ended or is forgotten."""
    yield _event(job)
    pause = FIRST_PAUSE
    while job.ended is None:
        await asyncio.sleep(pause)
        try:
            now = await run_in_threadpool(jobs.get, job.id)
        except NotFound:
            return
        pause = min(2 * pause, LONGEST_PAUSE) if now == job else FIRST_PAUSE
        if now != job:
            job = now
            yield _event(job)


def _event(job: Job) -> ServerSentEvent:
    return ServerSentEvent(event="job", data=_job_json.dump_json(job).decode())
