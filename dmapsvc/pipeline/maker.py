"""Making one case of a folder: its map and its image are published, unless they are already.

The way from a file to the store is `case.py`'s; here is what of it is still to be done, and that there is
memory for it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dmapsvc.errors import DeviceLost, DmapsvcError, Problem, Superseded, TooLarge
from dmapsvc.pipeline.case import (
    CaseOutcome,
    check_memory,
    file_sha256,
    memory_needed,
    run_case,
    run_image,
)
from dmapsvc.pipeline.device import Device
from dmapsvc.pipeline.events import Ending, Failure
from dmapsvc.pipeline.folder import CaseFile
from dmapsvc.pipeline.lanes import Watch
from dmapsvc.pipeline.present import has_image, is_mapped, published_case
from dmapsvc.room import Room
from dmapsvc.spec import Spacing
from dmapsvc.store import WritableDataset
from dmapsvc.volumes import read_header
from dmapsvc.volumes.volume import Kind

_MASKS_SHARE = 0.6  # of the progress of a case that has an image too


@dataclass(frozen=True, kw_only=True)
class _Made:
    """What publishing one file took, and what is to be said of it."""

    notes: tuple[str, ...]
    seconds: Mapping[str, float]
    voxels: int = 0


class Maker:
    """Makes cases in `dataset` on `device`; any number of threads may call it.

    Those under way at once take no more than `budget` bytes of memory together, by what their headers say.
    The rest as for `precompute`.
    """

    def __init__(
        self,
        dataset: WritableDataset,
        device: Device,
        *,
        budget: int,
        spacing: Spacing | None,
        threads: int | None,
        replace: bool,
    ) -> None:
        self._dataset, self._device = dataset, device
        self._budget, self._room = budget, Room(budget)
        self._spacing, self._threads, self._replace = spacing, threads, replace

    def make(self, case: CaseFile, watch: Watch) -> Ending:
        """Publish what of a case is not published; what is wrong with its files is in the ending."""
        parts: list[_Made | None] = []  # None: was done already
        failure, file = None, case.mask
        try:
            middle = 1.0 if case.image is None else _MASKS_SHARE
            parts.append(self._mask(case.case, case.mask, watch.part(0.0, middle)))
            if case.image is not None:
                file = case.image
                parts.append(self._image(case.case, case.image, watch.part(middle, 1.0)))
        except (DmapsvcError, MemoryError) as error:
            failure = Failure(case=case.case, file=file, problem=_problem(error, file))
        new = [part for part in parts if part is not None]
        seconds = Counter[str]()
        for part in new:
            seconds.update(part.seconds)
        return Ending(
            case=case.case,
            there=bool(parts),
            new=bool(new),
            notes=tuple(note for part in new for note in part.notes),
            seconds=seconds,
            voxels=sum(part.voxels for part in new),
            failure=failure,
        )

    def _mask(self, case: str, mask: Path, watch: Watch) -> _Made | None:
        """Publish the map of a mask; None if that is done already."""
        published = published_case(self._dataset, case, replace=self._replace)
        sha256 = file_sha256(mask)
        if is_mapped(
            self._dataset,
            case,
            published,
            sha256=sha256,
            spacing=self._spacing,
            name=str(mask),
            replace=self._replace,
        ):
            return None
        revision = published.revision + 1 if published else 1
        with self._memory(mask, "labels", watch):
            notes = []
            try:
                outcome = self._run(case, mask, sha256, revision, watch)
            except DeviceLost as error:
                notes.append(self._device.lose(error))
                outcome = self._run(case, mask, sha256, revision, watch)
        return _Made(
            notes=(*outcome.notes, *notes),
            seconds=outcome.seconds,
            voxels=math.prod(outcome.record.shape),
        )

    def _run(self, case: str, mask: Path, sha256: str, revision: int, watch: Watch) -> CaseOutcome:
        return run_case(
            mask,
            self._dataset,
            case,
            sha256=sha256,
            spacing=self._spacing,
            backend=self._device.asked,
            threads=self._threads,
            revision=revision,
            replace=self._replace,
            wanted=watch.wanted,
            device_lock=self._device.permits,
            progress=watch.progress,
        )

    def _image(self, case: str, image: Path, watch: Watch) -> _Made | None:
        """Publish an image beside its mask; None if that is done already."""
        published = published_case(self._dataset, case, replace=self._replace)
        sha256 = file_sha256(image)
        if published is not None and has_image(self._dataset, case, published, sha256=sha256):
            return None
        with self._memory(image, "image", watch):
            outcome = run_image(
                image,
                self._dataset,
                case,
                sha256=sha256,
                spacing=self._spacing,
                wanted=watch.wanted,
                progress=watch.progress,
            )
        return _Made(notes=outcome.notes, seconds=outcome.seconds)

    @contextmanager
    def _memory(self, file: Path, kind: Kind, watch: Watch) -> Iterator[None]:
        """Wait until a file may be read, by its header, and hold the memory that it takes."""
        header, backend = read_header(file, kind=kind, spacing=self._spacing), self._device.chosen
        check_memory(header, kind, budget=self._budget, backend=backend, name=file.name)
        needed = memory_needed(kind, voxels=header.voxels, bytes=header.bytes, backend=backend)
        with self._room.hold(needed, give_up=lambda: not watch.wanted()) as entered:
            if not entered:
                raise Superseded("this run was stopped")
            yield


def _problem(error: DmapsvcError | MemoryError, file: Path) -> Problem:
    if isinstance(error, MemoryError):
        error = TooLarge(f"{file}: not enough memory", remedy="Run it on a machine with more")
    return error.problem
