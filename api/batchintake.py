"""From a folder of the server to a batch: what may be named, which files are which cases, and their requests.

No file is opened: a file is known by its path, size and time until a worker reads it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from api.library import Library
from api.models import BatchWanted
from api.specs import chosen_spec
from dmapsvc.errors import BadFile, Conflict, Damaged, NotFound, SourceAway, printable
from dmapsvc.jobs import Kind, Request
from dmapsvc.jobs.batch import Batch, BatchAsked, BatchFile
from dmapsvc.jobs.engine import Jobs
from dmapsvc.jobs.source import source_key
from dmapsvc.pipeline import CaseFile, find_cases
from dmapsvc.roots import Roots
from dmapsvc.settings import Settings
from dmapsvc.spec import MapSpec
from dmapsvc.telemetry.context import request_id
from dmapsvc.telemetry.tracing import traceparent
from dmapsvc.volumes.checks import check_spacing

_LONGEST = 1000  # characters of a file's path that are shown


class BatchIntake:
    """Makes batches of folders for the datasets of `library` and hands them to `jobs`."""

    def __init__(self, settings: Settings, library: Library, jobs: Jobs) -> None:
        self._settings, self._library, self._jobs = settings, library, jobs

    def accept(self, name: str, wanted: BatchWanted) -> Batch:
        """Queue the files of the folders that are `wanted` for the dataset `name`, which is made if needed.

        Raises BadInput for folders that may not be named or hold nothing, BadName where two files are one
        case, BadSpec, Conflict where the dataset has another spec, TooLarge, Busy.
        """
        roots = Roots(self._settings.root_folders)
        labels = roots.folder(wanted.labels)
        images = None if wanted.images is None else roots.folder(wanted.images)
        spacing = None if wanted.spacing is None else check_spacing(wanted.spacing)
        asked = BatchAsked(
            dataset=name,
            labels=wanted.labels,
            images=wanted.images,
            pattern=wanted.pattern,
            spec=self._spec(name, wanted),
            spacing=spacing,
            replace=wanted.replace,
        )
        cases = find_cases(labels, images, pattern=wanted.pattern)
        files = len(cases) + sum(case.image is not None for case in cases)
        self._jobs.batches.check_room(asked, files)
        with self._library.changing(name):
            spec = self._spec(name, wanted)
            self._library.create(name, spec)
        asked = dataclasses.replace(asked, spec=spec)
        folder = _Folder(asked, labels, images, roots)
        return self._jobs.batches.submit(
            asked, map(folder.files_of, cases), (len(cases), files), _Published(self._library, name, spec)
        )

    def _spec(self, name: str, wanted: BatchWanted) -> MapSpec:
        return chosen_spec(self._library.find(name), *wanted.spec_texts(), self._jobs)


class _Folder:
    """What the files of the folders `labels` and `images` are as requests."""

    def __init__(self, asked: BatchAsked, labels: Path, images: Path | None, roots: Roots) -> None:
        self._asked, self._roots = asked, roots
        self._labels, self._images = labels, images or labels
        self._request_id, self._traceparent = request_id(), traceparent()

    def files_of(self, case: CaseFile) -> list[BatchFile]:
        """The mask of a case, and its image if it has one."""
        return list(self._files_of(case))

    def _files_of(self, case: CaseFile) -> Iterator[BatchFile]:
        yield self._file(Kind.MASK, case.case, case.mask, self._labels)
        if case.image is not None:
            yield self._file(Kind.IMAGE, case.case, case.image, self._images)

    def _file(self, kind: Kind, case: str, file: Path, folder: Path) -> BatchFile:
        filename = printable(file.relative_to(folder).as_posix(), _LONGEST)  # also where it is no UTF-8
        source = self._roots.real(file)
        if source is None:
            outside = BadFile(
                f"{filename}: a link that leads out of the folders that this service may read",
                remedy="Put the file itself there, or ask for its folder to be allowed",
            )
            request = self._request(kind, case, filename, str(file), "")
            return BatchFile(request=request, problem=outside.problem)
        try:
            key = source_key(source, filename)
        except (BadFile, SourceAway) as error:
            return BatchFile(request=self._request(kind, case, filename, source, ""), problem=error.problem)
        return BatchFile(request=self._request(kind, case, filename, source, key))

    def _request(self, kind: Kind, case: str, filename: str, source: str, key: str) -> Request:
        return Request(
            kind=kind,
            dataset=self._asked.dataset,
            case=case,
            sha256=key,
            spool=None,
            source=source,
            filename=filename,
            spec=self._asked.spec,
            shape=None,
            affine=None,
            spacing=self._asked.spacing,
            bytes=None,
            replace=self._asked.replace and kind is Kind.MASK,
            request_id=self._request_id,
            traceparent=self._traceparent,
        )


class _Published:
    """What is published in the dataset `name`, as it was when this was made."""

    def __init__(self, library: Library, name: str, spec: MapSpec) -> None:
        self._library, self._name, self._spec = library, name, spec
        self._dataset = library.open(name)
        self.cases = frozenset(self._dataset.cases())

    def check(self) -> None:
        """Raise Conflict unless the dataset is there, with this spec."""
        try:
            same = self._library.read(self._name).spec == self._spec
        except NotFound:
            same = False
        if not same:
            raise Conflict(
                f"dataset {self._name!r} was deleted or given another spec while its batch was submitted",
                remedy="Submit the folder again",
            )

    def revision(self, case: str) -> int:
        """The revision of a published case; 0 for one that is damaged or gone."""
        try:
            record = self._dataset.record(case)
        except Damaged:
            return 0
        return 0 if record is None else record.revision
