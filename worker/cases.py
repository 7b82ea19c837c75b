"""What the worker does for a job: the pipeline, with the service's store and one device to share."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from dmapsvc.errors import Conflict, NotFound
from dmapsvc.jobs import Kind, Request
from dmapsvc.jobs.run import Outcome, Run
from dmapsvc.maps import choose_backend, quantised_map
from dmapsvc.maps.backends import load_backend
from dmapsvc.pipeline import memory_needed, run_case, run_image
from dmapsvc.settings import Settings
from dmapsvc.store import WritableDataset, open_store

_LOOK = 0.5  # seconds between looks, while waiting for the device, at whether to go on waiting


def memory_of(request: Request, backend: str) -> int:
    """Bytes of memory that running `request` takes, with a backend of `maps`."""
    return memory_needed(
        "image" if request.kind is Kind.IMAGE else "labels",
        voxels=math.prod(request.shape),
        bytes=request.bytes,
        backend=backend,
    )


class Cases:
    """Runs jobs into the store of `settings`, as many at once on the device as it maps with profit.

    `backend` is the distance backend that a volume meets first; it is compiled or loaded when this is made,
    before a job needs it. Raises DeviceFailed if the one that was asked for does not work.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = open_store(settings.store_location, settings.staging)
        self.backend = choose_backend(settings.backend)
        self._device = threading.Semaphore(load_backend(self.backend).side_by_side)
        for dtype in (np.uint8, np.uint16):  # kernels are compiled for each
            labels = np.zeros((4, 4, 4), dtype)
            labels[1:3, 1:3, 1:3] = 1
            quantised_map(labels, backend=settings.backend, threads=settings.threads)

    def run(self, run: Run) -> Outcome:
        """Publish what `run` asks for.

        Raises what the pipeline raises, NotFound if the dataset was deleted, Conflict if it has another spec
        by now.
        """
        dataset = self._dataset(run.request)
        if run.request.kind is Kind.IMAGE:
            return self._image(run, dataset)
        return self._mask(run, dataset)

    def _dataset(self, request: Request) -> WritableDataset:
        name = request.dataset
        try:
            dataset = self._store.open(name)
        except NotFound:
            raise NotFound(f"dataset {name!r}", "it was deleted after the upload") from None
        if request.kind is Kind.MASK and dataset.spec != request.spec:
            raise Conflict(
                f"dataset {name!r} was given another spec after the upload", remedy="Upload the mask again"
            )
        return dataset

    def _mask(self, run: Run, dataset: WritableDataset) -> Outcome:
        request = run.request
        outcome = run_case(
            run.path,
            dataset,
            request.case,
            filename=request.filename,
            sha256=request.sha256,
            spacing=request.spacing,
            backend=self._settings.backend,
            threads=self._settings.threads,
            revision=run.revision,
            replace=request.replace,
            wanted=run.wanted,
            device_lock=self._device_for(run),
            progress=run.progress,
        )
        return Outcome(notes=outcome.notes, seconds=outcome.seconds, backend=outcome.backend)

    @contextmanager
    def _device_for(self, run: Run) -> Iterator[None]:
        """The device as soon as it is free; `run` heeds meanwhile what it is told."""
        while not self._device.acquire(timeout=_LOOK):
            run.heed()
        try:
            yield
        finally:
            self._device.release()

    def _image(self, run: Run, dataset: WritableDataset) -> Outcome:
        request = run.request
        outcome = run_image(
            run.path,
            dataset,
            request.case,
            filename=request.filename,
            sha256=request.sha256,
            spacing=request.spacing,
            wanted=run.wanted,
            progress=run.progress,
        )
        return Outcome(notes=outcome.notes, seconds=outcome.seconds)
