"""`/healthz`: the process lives. `/readyz`: it can take work, so that a balancer may send it some."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from fastapi import APIRouter, Request

from api.dependencies import JobsOf, LibraryOf, SettingsOf
from api.library import Library
from api.models import Health
from api.oneflight import OneFlight
from api.problems import NotReady, responses
from dmapsvc.errors import Busy, StoreAway
from dmapsvc.jobs.engine import Jobs
from dmapsvc.settings import Settings

router = APIRouter(tags=["health"])

_PATIENCE = 4.0  # seconds; chosen: under the five that the health checks of images and pods wait


@router.get("/healthz", summary="Does the process live?")
async def live() -> Health:
    """Answers as long as the process does."""
    return Health(status="alive")


Verdict = OneFlight[list[tuple[str, str]]]
"""What keeps the service from taking work, and what to do about each."""


def new_verdict() -> Verdict:
    """A verdict that is good for two seconds: anybody may ask, and each look writes files and asks others."""
    return OneFlight(keep=2.0)


@router.get("/readyz", summary="Can it take work?", responses=responses(NotReady))
async def ready(request: Request, settings: SettingsOf, library: LibraryOf, jobs: JobsOf) -> Health:
    """The database answers, the queue has room, and spool, store and staging can be written and have room.

    What is not so is told, all of it at once; it is looked at every two seconds at most.
    """

    def look() -> list[tuple[str, str]]:
        return [*_queue_faults(jobs), *_folder_faults(settings), *_store_faults(library)]

    verdict: Verdict = request.app.state.verdict
    try:
        faults = await verdict.answer(look, patience=_PATIENCE)
    except TimeoutError:
        silent = f"database, disk or store did not answer within {_PATIENCE:g} s"
        faults = [(silent, "See that they run and can be reached")]
    if faults:
        raise NotReady(
            "; ".join(fault for fault, _ in faults),
            remedy=". ".join(dict.fromkeys(remedy for _, remedy in faults)),
        )
    return Health(status="ready")


def _queue_faults(jobs: Jobs) -> Iterator[tuple[str, str]]:
    """What keeps the queue from taking a job, and what to do about it."""
    try:
        jobs.ping()
        jobs.check_room()
    except Busy as error:
        yield error.found, error.remedy
    except Exception:  # whatever it is, its words are of the inside
        yield "the database does not answer", "See that it runs and can be reached"


def _folder_faults(settings: Settings) -> Iterator[tuple[str, str]]:
    """What keeps the data folder from taking an upload, and what to do about it."""
    for folder in (settings.spool, settings.staging):
        try:
            _write(folder)
            free = shutil.disk_usage(folder).free
        except OSError as error:
            yield _fault(f"the data folder's {folder.name}", error)
            continue
        if free < settings.min_free:
            few = f"{free / 2**30:.2f} GiB are free, {settings.min_free / 2**30:.2f} are wanted"
            yield f"the data folder's {folder.name}: {few}", "Make room, or change DMAPSVC_MIN_FREE"


def _store_faults(library: Library) -> Iterator[tuple[str, str]]:
    """What keeps the store from taking a case, and what to do about it."""
    try:
        library.store.check_writable()
    except OSError as error:
        yield _fault("the store", error)
    except StoreAway as error:
        yield error.found, error.remedy


def _fault(what: str, error: OSError) -> tuple[str, str]:
    return f"{what}: {error.strerror or 'it cannot be written'}", "Mount it writable, with room"


def _write(folder: Path) -> None:
    """Write a byte in `folder` and remove it; raises OSError."""
    probe = folder / f".ready-{uuid.uuid4().hex}"
    try:
        probe.write_bytes(b"?")
    finally:
        probe.unlink(missing_ok=True)
