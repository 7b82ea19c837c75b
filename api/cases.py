"""Published cases: list, one, delete."""

from __future__ import annotations

from bisect import bisect_right
from typing import Annotated

from fastapi import APIRouter, Query

from api.dependencies import CaseName, DatasetName, JobsOf, LibraryOf
from api.models import CaseBody, CaseList
from api.problems import responses
from dmapsvc.errors import BadName, NotFound

router = APIRouter(prefix="/v1/datasets/{dataset}/cases", tags=["cases"])


@router.get("", summary="List cases", responses=responses(BadName, NotFound))
def list_cases(
    dataset: DatasetName,
    library: LibraryOf,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    cursor: Annotated[str | None, Query(description="`next` of the page before.")] = None,
) -> CaseList:
    """The names of the published cases, sorted."""
    names = library.read(dataset).cases()
    begin = 0 if cursor is None else bisect_right(names, cursor)
    page = names[begin : begin + limit]
    return CaseList(cases=page, next=page[-1] if begin + limit < len(names) else None)


@router.get("/{case}", summary="One case", responses=responses(BadName, NotFound))
def get_case(dataset: DatasetName, case: CaseName, library: LibraryOf) -> CaseBody:
    """What is known of a published case: its mask, map, regions and grid."""
    record = library.read(dataset).case(case).record
    return CaseBody.model_validate({"name": case, **record.to_json()})


@router.delete("/{case}", status_code=204, summary="Delete a case", responses=responses(BadName, NotFound))
def delete_case(dataset: DatasetName, case: CaseName, library: LibraryOf, jobs: JobsOf) -> None:
    """Cancel the jobs of a case and remove its arrays, uploads and records. There is no way back."""
    with library.changing(dataset):
        home = library.open(dataset)
        had_jobs = bool(jobs.list(dataset=dataset, case=case, limit=1).jobs)
        jobs.forget(dataset, case)
        try:
            home.delete(case)
        except NotFound:
            if not had_jobs:
                raise
