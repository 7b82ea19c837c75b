"""What the routes need, to be overridden when the app is built otherwise: settings, jobs, datasets, names.

All of it hangs on the app's state, which `api.app` fills; there is no state at module level.
"""

from __future__ import annotations

import re
from typing import Annotated

from anyio import CapacityLimiter
from fastapi import Depends, Path, Request

from api.library import Library
from dmapsvc.errors import BadInput, NotFound, printable
from dmapsvc.jobs.engine import Jobs
from dmapsvc.settings import Settings
from dmapsvc.spec import check_name

_JOB_ID = re.compile(r"[0-9a-f]{64}")


async def get_settings(request: Request) -> Settings:
    """The settings of this service."""
    settings: Settings = request.app.state.settings
    return settings


async def get_jobs(request: Request) -> Jobs:
    """The queue of this service."""
    jobs: Jobs = request.app.state.jobs
    return jobs


async def get_library(request: Request) -> Library:
    """The datasets of this service."""
    library: Library = request.app.state.library
    return library


def get_builders(request: Request) -> CapacityLimiter:
    """Who may build a download now, each of which takes a whole map's memory."""
    builders: CapacityLimiter = request.app.state.builders
    return builders


async def check_query(request: Request) -> None:
    """Raise BadInput for what the call does not know, and for a NUL, which some databases take in no text.

    A misspelt name must not pass: `?label=5` would map every label. What a call knows, its OpenAPI says.
    """
    known = _query_names(request)
    for name, value in request.query_params.multi_items():
        if known is not None and name not in known:
            raise BadInput(
                f"query {printable(name)!r} is not known here",
                f"wanted {', '.join(sorted(known)) or 'none'}",
                "See /docs",
            )
        if "\0" in value:
            raise BadInput(f"query {printable(name)}: a NUL character", "wanted text", "Leave it out")


def _query_names(request: Request) -> set[str] | None:
    """The query parameters of the call that was matched; None for one that is not described."""
    path = request.app.openapi()["paths"].get(request.scope["route"].path_format, {})
    call = path.get(request.method.lower())
    if call is None:
        return None
    return {parameter["name"] for parameter in call.get("parameters", ()) if parameter["in"] == "query"}


def dataset_name(
    dataset: Annotated[str, Path(description="Name of the dataset.", examples=["knees"])],
) -> str:
    """A dataset's name from the address; raises BadName."""
    return check_name(dataset, "dataset")


def case_name(case: Annotated[str, Path(description="Name of the case.", examples=["subject-07"])]) -> str:
    """A case's name from the address; raises BadName."""
    return check_name(case, "case")


def job_id(job: Annotated[str, Path(description="Id of the job, 64 hexadecimal digits.")]) -> str:
    """A job's id from the address; raises NotFound for what can be none."""
    if _JOB_ID.fullmatch(job):
        return job
    raise NotFound(
        f"job {printable(job)!r}", "a job's id is 64 hexadecimal digits", "GET /v1/jobs lists them"
    )


SettingsOf = Annotated[Settings, Depends(get_settings)]
JobsOf = Annotated[Jobs, Depends(get_jobs)]
LibraryOf = Annotated[Library, Depends(get_library)]
BuildersOf = Annotated[CapacityLimiter, Depends(get_builders)]
DatasetName = Annotated[str, Depends(dataset_name)]
CaseName = Annotated[str, Depends(case_name)]
JobId = Annotated[str, Depends(job_id)]
