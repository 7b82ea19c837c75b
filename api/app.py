"""The application, built by a function: routes, problems, and a lifespan that opens and closes the queue."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import CapacityLimiter
from fastapi import Depends, FastAPI
from fastapi.concurrency import run_in_threadpool
from starlette.types import ASGIApp

from api import (
    batches,
    cases,
    datasets,
    downloads,
    gate,
    health,
    jobs,
    metrics,
    problems,
    uploads,
    workers,
    zarr,
)
from api.dependencies import check_query
from api.document import REFUSALS, DocumentedApp
from api.library import Library
from api.observed import Observed
from api.stopping import Interruptible
from dmapsvc import __version__
from dmapsvc.jobs.database import check_database
from dmapsvc.jobs.engine import Jobs
from dmapsvc.keeping.files import broken_off
from dmapsvc.settings import Settings
from dmapsvc.store import open_store

_BUILDERS = 2  # downloads built side by side, each with a map in memory; chosen, few

_DESCRIPTION = """
Segmentation masks in, error-penalising distance maps Φ out (Calivá et al. 2019), as OME-Zarr for training.

`PUT` a mask, follow the job it is answered with, then read the case: as Zarr below `/zarr/<dataset>.zarr`, or
as NIfTI. Arrays are (z, y, x). Every error is an RFC 9457 problem that says what was found, what was wanted
and what to do.
"""


class Service(DocumentedApp):
    """The application with every request observed, those included that a middleware or a bug answers."""

    def build_middleware_stack(self) -> ASGIApp:
        """What handles a request, from the outside in."""
        return Observed(Interruptible(super().build_middleware_stack()), self.state.metrics)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The service over `settings` (default: the environment's); it opens nothing until it is started."""
    chosen = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        prepare(chosen)
        app.state.builders = CapacityLimiter(_BUILDERS)
        app.state.jobs = await run_in_threadpool(Jobs, chosen)
        try:
            yield
        finally:
            await run_in_threadpool(app.state.jobs.close)

    app = Service(
        title="dmapsvc",
        version=__version__,
        summary="Distance maps for segmentation losses, as a service.",
        description=_DESCRIPTION,
        lifespan=lifespan,
        dependencies=[Depends(check_query)],
        redoc_url=None,
    )
    app.state.settings = chosen
    app.state.library = Library(chosen)
    app.state.metrics = metrics.Metrics()
    app.state.verdict = health.new_verdict()
    problems.install(app)
    gate.install(app, chosen)
    for resource in (datasets, cases, downloads, uploads, batches, jobs, workers, zarr, metrics):
        app.include_router(resource.router, responses=REFUSALS)
    app.include_router(health.router)
    return app


def prepare(settings: Settings) -> None:
    """Make the folders of the service and remove what uploads that broke off have left.

    Raises BadInput for a database that cannot be used, OSError where a folder cannot be made.
    """
    check_database(settings)
    for folder in (settings.staging, settings.spool):
        folder.mkdir(parents=True, exist_ok=True)
    open_store(settings.store_location, settings.staging).prepare()
    broken_off(settings.spool)
