"""Uploads: the mask of a case, and the image that goes with it. One raw body is one file.

What the address says is checked before a byte of the body is asked for; what becomes of the body is in
`api.intake`.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from api import spool
from api.dependencies import CaseName, DatasetName, JobsOf, LibraryOf, SettingsOf
from api.intake import Accepted, Asked, Intake
from api.limits import BodyStopped
from api.problems import responses
from api.specs import parse_spacing
from dmapsvc.errors import (
    BadFile,
    BadName,
    BadSpec,
    Busy,
    Conflict,
    DiskFull,
    GridMismatch,
    TooLarge,
    printable,
)
from dmapsvc.jobs import Job, Kind

router = APIRouter(prefix="/v1/datasets/{dataset}/cases/{case}", tags=["uploads"])

_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "Published already; the job that made it.", "model": Job},
    202: {
        "description": "The job that was queued, or is under way.",
        "headers": {"Location": {"description": "Path of the job.", "schema": {"type": "string"}}},
    },
    **responses(BadName, BadSpec, BadFile, Conflict, GridMismatch, TooLarge, BodyStopped, Busy, DiskFull),
}
_BODY = {
    "requestBody": {
        "required": True,
        "description": "One file as it is: NIfTI, MGZ, NRRD, MetaImage, NumPy or DICOM-SEG.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}

Spacing = Annotated[
    str | None,
    Query(description="mm, z,y,x; for NumPy files, which have none.", examples=["0.7,0.36,0.36"]),
]
FileName = Annotated[
    str | None, Query(description="What messages call the file.", examples=["subject-07.nii.gz"])
]


def get_intake(settings: SettingsOf, library: LibraryOf, jobs: JobsOf) -> Intake:
    """What judges uploads."""
    return Intake(settings, library, jobs)


IntakeOf = Annotated[Intake, Depends(get_intake)]


@router.put("/mask", status_code=202, summary="Upload a mask", responses=_ANSWERS, openapi_extra=_BODY)
async def put_mask(
    request: Request,
    response: Response,
    dataset: DatasetName,
    case: CaseName,
    intake: IntakeOf,
    labels: Annotated[
        str | None, Query(description="Values that are classes; `all`: every one but 0.", examples=["5,6,7"])
    ] = None,
    units: Annotated[str | None, Query(description="`voxel` or `mm`.", examples=["mm"])] = None,
    replace: Annotated[bool, Query(description="Supersede another mask of this case.")] = False,
    spacing: Spacing = None,
    filename: FileName = None,
) -> Job:
    """Upload the mask of a case; the job that maps and publishes it.

    A dataset that does not exist yet is made, with `labels` and `units` or the defaults. The same mask again
    is the same job. Another mask for a published case is 409 unless `replace`.
    """
    asked = Asked(
        kind=Kind.MASK,
        dataset=dataset,
        case=case,
        filename=_shown_name(filename, "mask"),
        spacing=parse_spacing(spacing),
        labels=labels,
        units=units,
        replace=replace,
    )
    return _tell(response, await _take(request, intake, asked))


@router.put("/image", status_code=202, summary="Upload an image", responses=_ANSWERS, openapi_extra=_BODY)
async def put_image(
    request: Request,
    response: Response,
    dataset: DatasetName,
    case: CaseName,
    intake: IntakeOf,
    spacing: Spacing = None,
    filename: FileName = None,
) -> Job:
    """Upload the image that goes with the mask of a case, before it or after; the job that stores it.

    Its grid must be the mask's.
    """
    asked = Asked(
        kind=Kind.IMAGE,
        dataset=dataset,
        case=case,
        filename=_shown_name(filename, "image"),
        spacing=parse_spacing(spacing),
    )
    return _tell(response, await _take(request, intake, asked))


async def _take(request: Request, intake: Intake, asked: Asked) -> Accepted:
    await run_in_threadpool(intake.check, asked)
    settings = intake.settings
    async with spool.receive(request, settings.spool, settings.max_body) as upload:
        return await run_in_threadpool(intake.accept, asked, upload)


def _tell(response: Response, accepted: Accepted) -> Job:
    response.status_code = 200 if accepted.published else 202
    if accepted.job.run:  # what this service's queue never ran has no address
        response.headers["location"] = f"/v1/jobs/{accepted.job.id}"
    return accepted.job


def _shown_name(filename: str | None, otherwise: str) -> str:
    """The last part of a file's name, as messages may show it."""
    return printable((filename or "").replace("\\", "/").rpartition("/")[2]) or otherwise
