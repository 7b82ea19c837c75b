"""What the worker does for a job: the pipeline, with the service's store and one device to share."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from dmapsvc.errors import BadFile, Conflict, DiskFull, NotFound
from dmapsvc.jobs import Kind, Request
from dmapsvc.jobs.run import Outcome, Run
from dmapsvc.jobs.source import check_source, source_sha256, unreadable
from dmapsvc.maps import choose_backend, quantised_map
from dmapsvc.maps.backends import load_backend
from dmapsvc.pipeline import (
    check_voxels,
    has_image,
    is_mapped,
    memory_needed,
    published_case,
    run_case,
    run_image,
)
from dmapsvc.roots import Roots
from dmapsvc.settings import Settings
from dmapsvc.store import WritableDataset, open_store
from dmapsvc.volumes import read_header
from dmapsvc.whole import FULL

_THERE = "It was published from this very file already."

_LOOK = 0.5  # seconds between looks, while waiting for the device, at whether to go on waiting


def memory_of(request: Request, backend: str, settings: Settings) -> int:
    """Bytes of memory that running `request` takes, with a backend of `maps`.

    Of a batch's file the header is read for it. Raises BadFile if that shows a fault, or the file is not the
    one that was submitted; SourceAway if it is not below a root of `settings` that is there; TooLarge for
    more voxels than they allow.
    """
    content: Literal["labels", "image"] = "image" if request.kind is Kind.IMAGE else "labels"
    shape, size = request.shape, request.bytes
    if shape is None or size is None:
        check_source(request, Roots(settings.root_folders))
        path = Path(request.source or "")
        try:
            header = read_header(path, name=request.filename, kind=content, spacing=request.spacing)
        except OSError as error:
            raise unreadable(error, request.filename) from error
        check_voxels(header, most=settings.max_voxels, name=request.filename)
        shape, size = header.shape, header.bytes
    return memory_needed(content, voxels=math.prod(shape), bytes=size, backend=backend)


class Cases:
    """Runs jobs into the store of `settings`, as many at once on the device as it maps with profit.

    `backend` is the distance backend that a volume meets first; it is compiled or loaded when this is made,
    before a job needs it. Raises DeviceFailed if the one that was asked for does not work.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = open_store(settings.store_location, settings.staging)
        self._roots = Roots(settings.root_folders)
        self.backend = choose_backend(settings.backend)
        self._device = threading.Semaphore(load_backend(self.backend).side_by_side)
        for dtype in (np.uint8, np.uint16):  # kernels are compiled for each
            labels = np.zeros((4, 4, 4), dtype)
            labels[1:3, 1:3, 1:3] = 1
            quantised_map(labels, backend=settings.backend, threads=settings.threads)

    def run(self, run: Run) -> Outcome:
        """Publish what `run` asks for.

        Raises what the pipeline raises, NotFound if the dataset was deleted, Conflict if it has another spec
        by now, DiskFull.
        """
        try:
            dataset = self._dataset(run.request)
            return (self._image if run.request.kind is Kind.IMAGE else self._mask)(run, dataset)
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise DiskFull(
                f"{run.request.filename}: there was no room to publish it",
                remedy="Make room in the service's data folder and run the job again",
            ) from error

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
        request, sha256 = run.request, _sha256(run)
        if self._is_there(run, dataset, sha256):
            return Outcome(notes=(_THERE,), seconds={}, sha256=sha256)
        outcome = run_case(
            run.path,
            dataset,
            request.case,
            filename=request.filename,
            sha256=sha256,
            spacing=request.spacing,
            backend=self._settings.backend,
            threads=self._settings.threads,
            revision=run.revision,
            replace=request.replace,
            wanted=partial(self._wanted, run),
            device_lock=self._device_for(run),
            progress=run.progress,
        )
        return Outcome(notes=outcome.notes, seconds=outcome.seconds, backend=outcome.backend, sha256=sha256)

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
        request, sha256 = run.request, _sha256(run)
        if self._is_there(run, dataset, sha256):
            return Outcome(notes=(_THERE,), seconds={}, sha256=sha256)
        outcome = run_image(
            run.path,
            dataset,
            request.case,
            filename=request.filename,
            sha256=sha256,
            spacing=request.spacing,
            wanted=partial(self._wanted, run),
            progress=run.progress,
        )
        return Outcome(notes=outcome.notes, seconds=outcome.seconds, sha256=sha256)

    def _is_there(self, run: Run, dataset: WritableDataset, sha256: str) -> bool:
        """Whether the run's file is published already; of an upload that was asked when it was accepted.

        An upload may be gone if the queue was restored from a copy that is older than the store: its job was
        done meanwhile. Raises BadFile if it was not; Conflict if another mask is published that is not to be
        replaced.
        """
        request = run.request
        if request.source is None and run.path.is_file():
            return False
        if not self._is_published(request, dataset, sha256):
            if request.source is None:
                raise BadFile(f"{request.filename}: its upload is gone", remedy="Upload it again")
            return False
        return True

    def _is_published(self, request: Request, dataset: WritableDataset, sha256: str) -> bool:
        published = published_case(dataset, request.case, replace=request.replace)
        if request.kind is Kind.IMAGE:
            return has_image(dataset, request.case, published, sha256=sha256)
        return is_mapped(
            dataset,
            request.case,
            published,
            sha256=sha256,
            spacing=request.spacing,
            name=request.filename,
            replace=request.replace,
        )

    def _wanted(self, run: Run) -> bool:
        """Whether the run may go on and publish; raises BadFile if a batch's file has changed meanwhile."""
        check_source(run.request, self._roots)
        return run.wanted()


def _sha256(run: Run) -> str:
    """The hash of the run's file; that of a batch was not read before."""
    if run.request.source is None:
        return run.request.sha256
    return source_sha256(run.request, partial(run.progress, "read", 0.0))
