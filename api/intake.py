"""From a body on disk to a job: what its header must satisfy, and what is there already.

Everything is checked before anything is made, and the store is asked before the queue. The voxels are the
worker's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import sqlalchemy as sa

from api.library import Library, record_of
from api.specs import chosen_spec
from api.spool import Upload
from dmapsvc.errors import Conflict, NotFound
from dmapsvc.jobs import Job, Kind, Request, State
from dmapsvc.jobs.engine import Jobs
from dmapsvc.pipeline import check_memory, check_units, check_voxels
from dmapsvc.settings import Settings
from dmapsvc.spec import MapSpec, Spacing
from dmapsvc.store import CaseRecord, ImageRecord, WritableDataset
from dmapsvc.volumes import Header, check_same_grid, read_header


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a PUT says besides its body: `labels` and `units` as in the address, `filename` for messages."""

    kind: Kind
    dataset: str
    case: str
    filename: str
    spacing: Spacing | None
    labels: str | None = None
    units: str | None = None
    replace: bool = False


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """What became of an upload: its job, and whether all of it is `published` already."""

    job: Job
    published: bool


class Intake:
    """Judges uploads to the datasets of `library` and hands them to `jobs`."""

    def __init__(self, settings: Settings, library: Library, jobs: Jobs) -> None:
        self.settings = settings
        self._library = library
        self._jobs = jobs

    def check(self, asked: Asked) -> None:
        """Refuse what can be refused before the body is read: raises BadSpec and Conflict."""
        self._spec(asked, self._library.find(asked.dataset))

    def accept(self, asked: Asked, upload: Upload) -> Accepted:
        """Judge `upload` and submit its job, which then owns the file; a dataset that is missing is made.

        Raises BadFile and BadLabels for what its header shows, BadSpec, TooLarge over the memory budget,
        Conflict when another mask is published or queued, GridMismatch, Busy.
        """
        content: Literal["labels", "image"] = "labels" if asked.kind is Kind.MASK else "image"
        header = read_header(upload.path, name=asked.filename, kind=content, spacing=asked.spacing)
        self._check_size(header, content, asked.filename)
        with self._library.changing(asked.dataset):
            return self._submit(asked, upload, header)

    def _submit(self, asked: Asked, upload: Upload, header: Header) -> Accepted:
        dataset = self._library.find(asked.dataset)
        record = record_of(dataset, asked.case, even_damaged=asked.replace)
        request = _request(asked, upload, header, self._spec(asked, dataset))
        published = self._published(request, dataset, record)
        if published is not None:
            return Accepted(job=published, published=True)
        if asked.kind is Kind.MASK:
            check_units(header, request.spec, request.filename)
            _check_replaced(request, record)
        self._check_grid(request, header, dataset, record)
        made = self._library.create(asked.dataset, request.spec)
        try:
            upload.settle()
            job, taken = self._jobs.submit(
                request, published_revision=0 if record is None else record.revision
            )
        except Exception:
            if not self._may_be_accepted(request):
                upload.drop()
                self._undo(made, dataset)
            raise
        if not taken:
            upload.drop()
        return Accepted(job=job, published=False)

    def _may_be_accepted(self, request: Request) -> bool:
        """Whether `request` may have its job after an error: perhaps only the commit's answer was lost."""
        try:
            return self._jobs.owns(request)
        except sa.exc.SQLAlchemyError:
            return True

    def _undo(self, made: WritableDataset, before: WritableDataset | None) -> None:
        """Leave the dataset as it was before it was `made`, unless some other job needs it now."""
        if any(self._jobs.has_live(made.name, kind) for kind in Kind):
            return
        if before is None:
            made.destroy_unused()
        elif before.spec != made.spec:
            self._library.create(before.name, before.spec, before.names)

    def _spec(self, asked: Asked, dataset: WritableDataset | None) -> MapSpec:
        return chosen_spec(dataset, asked.labels, asked.units, self._jobs)

    def _published(
        self, request: Request, dataset: WritableDataset | None, record: CaseRecord | None
    ) -> Job | None:
        """The job that has published just this upload, unless another upload is about to replace it."""
        if dataset is None or not _is_current(request, dataset, record):
            return None
        others = [job for job in self._jobs.live(request.dataset, request.case) if job.kind is request.kind]
        if others or _must_mend(request, dataset, record):
            return None
        try:
            job = self._jobs.get(request.id)
        except NotFound:  # published without this service's queue, by `dmapsvc precompute`
            return _job_without_run(request, record)
        return job if job.state is State.DONE else _job_without_run(request, record)

    def _check_size(self, header: Header, content: Literal["labels", "image"], filename: str) -> None:
        check_voxels(header, most=self.settings.max_voxels, name=filename)
        budget = self.settings.memory_budget_bytes
        check_memory(header, content, budget=budget, backend=self.settings.backend, name=filename)

    def _check_grid(
        self, request: Request, header: Header, dataset: WritableDataset | None, record: CaseRecord | None
    ) -> None:
        """Raise GridMismatch unless the upload lies on the grid of what is known of its case."""
        if request.kind is Kind.IMAGE:
            if record is not None:
                check_same_grid(
                    _grid(record), header, mask_name="the published mask", image_name=request.filename
                )
            return
        held = None if dataset is None else dataset.held_image(request.case)
        for image in (held, None if record is None else record.image):
            if image is not None:
                check_same_grid(
                    header, _grid(image), mask_name=request.filename, image_name="the case's image"
                )


def _request(asked: Asked, upload: Upload, header: Header, spec: MapSpec) -> Request:
    affine = None if header.affine is None else tuple(tuple(row) for row in header.affine.tolist())
    return Request(
        kind=asked.kind,
        dataset=asked.dataset,
        case=asked.case,
        sha256=upload.sha256,
        spool=upload.name,
        filename=asked.filename,
        spec=spec,
        shape=header.shape,
        affine=affine,
        spacing=asked.spacing if header.affine is None else None,
        bytes=header.bytes,
        replace=asked.replace,
    )


def _is_current(request: Request, dataset: WritableDataset, record: CaseRecord | None) -> bool:
    """Whether what is published (or, of an image, held) is what is asked for."""
    if request.kind is Kind.IMAGE:
        image = dataset.held_image(request.case) if record is None else record.image
        return image is not None and image.sha256 == request.sha256
    return record is not None and record.id == request.id and _same_spacing(request, record)


def _must_mend(request: Request, dataset: WritableDataset, record: CaseRecord | None) -> bool:
    """Whether what is published is damaged, and `request` may put it right."""
    mends = request.replace or request.kind is Kind.IMAGE
    return mends and record is not None and not dataset.is_sound(request.case)


def _same_spacing(request: Request, record: CaseRecord) -> bool:
    """A NumPy file's spacing is not in the file, so not in its hash."""
    return request.spacing is None or record.spacing is None or np.allclose(request.spacing, record.spacing)


def _check_replaced(request: Request, record: CaseRecord | None) -> None:
    """Raise Conflict if another mask is published and was not to be replaced."""
    if record is None or request.replace:
        return
    if record.mask_sha256 != request.sha256:
        raise Conflict(
            f"case {request.case!r} holds the map of mask {record.mask_sha256}, this one is {request.sha256}",
            "a published case is not changed silently",
            "Add ?replace=true, or choose another case",
        )
    if not _same_spacing(request, record):
        raise Conflict(
            f"case {request.case!r} has this mask's map with spacing {record.spacing}, not {request.spacing}",
            remedy="Add ?replace=true, or choose another case",
        )


def _grid(record: CaseRecord | ImageRecord) -> Header:
    """A record's grid as a file's header would say it."""
    return Header(
        format="store",
        shape=record.shape,
        dtype=np.dtype(np.uint8),
        spacing=record.spacing,
        affine=None if record.affine is None else np.asarray(record.affine),
    )


def _job_without_run(request: Request, record: CaseRecord | None) -> Job:
    """A job that is done though this service's queue never ran it, or has forgotten it; run 0."""
    ended = datetime.now(UTC) if record is None else datetime.fromisoformat(record.published)
    mapped = record if request.kind is Kind.MASK else None
    return Job(
        id=request.id,
        run=0,
        kind=request.kind,
        dataset=request.dataset,
        case=request.case,
        state=State.DONE,
        stage=None,
        percent=100.0,
        position=None,
        created=ended,
        started=ended,
        ended=ended,
        problem=None,
        notes=(),
        seconds={} if mapped is None else dict(mapped.seconds),
        backend=None if mapped is None else mapped.backend,
        sha256=request.sha256,
        revision=0 if mapped is None else mapped.revision,
        filename=request.filename,
        attempts=0,
    )
