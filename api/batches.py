"""Batches: a folder that the server sees becomes jobs; how far they are, what failed, cancel."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Path, Query, Response

from api.batchintake import BatchIntake
from api.dependencies import DatasetName, JobsOf, LibraryOf, SettingsOf
from api.models import BatchBody, BatchList, BatchWanted, JobList
from api.problems import responses
from api.smallbody import SmallBody
from dmapsvc.errors import BadInput, BadName, BadSpec, Busy, Conflict, DiskFull, NotFound, TooLarge, printable
from dmapsvc.jobs import State

router = APIRouter(tags=["batches"], route_class=SmallBody)

_BATCH_ID = re.compile(r"[0-9a-f]{32}")


def batch_id(batch: Annotated[str, Path(description="Id of the batch, 32 hexadecimal digits.")]) -> str:
    """A batch's id from the address; raises NotFound for what can be none."""
    if _BATCH_ID.fullmatch(batch):
        return batch
    raise NotFound(
        f"batch {printable(batch)!r}", "a batch's id is 32 hexadecimal digits", "GET /v1/batches lists them"
    )


def get_intake(settings: SettingsOf, library: LibraryOf, jobs: JobsOf) -> BatchIntake:
    """What makes batches of folders."""
    return BatchIntake(settings, library, jobs)


BatchId = Annotated[str, Depends(batch_id)]
IntakeOf = Annotated[BatchIntake, Depends(get_intake)]


@router.post(
    "/v1/datasets/{dataset}/batches",
    status_code=202,
    summary="Submit a folder",
    responses={
        202: {
            "description": "The batch that was queued.",
            "headers": {"Location": {"description": "Path of the batch.", "schema": {"type": "string"}}},
        },
        **responses(BadName, BadSpec, BadInput, Conflict, TooLarge, Busy, DiskFull),
    },
)
def post_batch(
    dataset: DatasetName, wanted: Annotated[BatchWanted, Body()], response: Response, intake: IntakeOf
) -> BatchBody:
    """Queue every mask of a folder of the server, with its image if there is one; no file is opened yet.

    The folders must lie below one of DMAPSVC_ROOTS. A case is called by its file's path below the folder
    without the ending, `/` written `__`. The same folder again is what is missing only: new and changed
    files, and those whose jobs failed or were cancelled. Uploads go before batches.
    """
    batch = intake.accept(dataset, wanted)
    response.headers["location"] = f"/v1/batches/{batch.id}"
    return BatchBody.of(batch)


@router.get("/v1/batches", summary="List batches", responses=responses())
def list_batches(
    jobs: JobsOf,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(description="`next` of the page before.")] = None,
) -> BatchList:
    """The batches, newest first, without the time left."""
    page = jobs.batches.list(limit=limit, cursor=cursor)
    return BatchList(batches=[BatchBody.of(batch) for batch in page.batches], next=page.next)


@router.get("/v1/batches/{batch}", summary="One batch", responses=responses(NotFound))
def get_batch(batch: BatchId, jobs: JobsOf) -> BatchBody:
    """How many of its jobs are in each state, the part that has ended, and the time left at today's pace."""
    return BatchBody.of(jobs.batches.get(batch))


@router.get("/v1/batches/{batch}/failures", summary="What failed", responses=responses(NotFound))
def list_failures(
    batch: BatchId,
    jobs: JobsOf,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(description="`next` of the page before.")] = None,
) -> JobList:
    """The failed jobs of a batch with their problems, newest first."""
    jobs.batches.get(batch)
    page = jobs.list(batch=batch, state=State.FAILED, limit=limit, cursor=cursor)
    return JobList(jobs=list(page.jobs), next=page.next)


@router.delete("/v1/batches/{batch}", summary="Cancel a batch", responses=responses(NotFound))
def cancel_batch(batch: BatchId, jobs: JobsOf) -> BatchBody:
    """Cancel the jobs that wait or run; what is published stays."""
    return BatchBody.of(jobs.batches.cancel(batch))
