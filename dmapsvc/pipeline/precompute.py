"""A folder of masks becomes a dataset, one case after another, going on where an earlier run stopped.

A bad file costs its own case only: it is listed at the end. Nothing is printed here; whoever shows progress
listens to the events.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

import numpy as np

from dmapsvc.errors import Conflict, Damaged, DmapsvcError, Problem, TooLarge
from dmapsvc.maps import choose_backend
from dmapsvc.pipeline.case import file_sha256, run_case, run_image
from dmapsvc.pipeline.folder import CaseFile, find_cases, unused_images
from dmapsvc.spec import MapSpec, Spacing, map_id
from dmapsvc.store import CaseRecord, Dataset


class Happening(StrEnum):
    """What an event tells of a case."""

    STARTED = "started"  # it is its turn
    STAGE = "stage"  # it got on: `stage`, `fraction`
    DONE = "done"  # published now
    SKIPPED = "skipped"  # was published already, image and all
    FAILED = "failed"  # not published: `problem`


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something happened to `case`; `ended` of `total` cases have ended, this one included if it has."""

    happening: Happening
    case: str
    ended: int
    total: int
    stage: str | None = None
    fraction: float = 0.0
    notes: tuple[str, ...] = ()
    problem: Problem | None = None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A case that was not made, its mask's file, and why."""

    case: str
    file: Path
    problem: Problem


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How a run over a folder ended: names of cases by how they ended, and the seconds each stage took in
    all.

    `without_image` lists the cases for which the folder of images had none, `unused_images` the files of it
    that go with no case; both empty if there was no such folder.
    """

    done: tuple[str, ...]
    skipped: tuple[str, ...]
    failed: tuple[Failure, ...]
    without_image: tuple[str, ...]
    unused_images: tuple[Path, ...]
    seconds: dict[str, float]


def precompute(
    labels: Path | Sequence[Path],
    out: Path,
    *,
    spec: MapSpec,
    names: dict[int, str] | None = None,
    images: Path | None = None,
    spacing: Spacing | None = None,
    backend: str = "auto",
    threads: int | None = None,
    replace: bool = False,
    on_event: Callable[[Event], None] | None = None,
) -> Summary:
    """Make the dataset `out` from every mask in `labels` (`find_cases` says which), with the images in
    `images`.

    `spacing` (z, y, x) in mm is for files that have none, such as NumPy's. The rest as for `run_case`.
    A case that is published with the same mask and spec is skipped, so a run that was stopped goes on when it
    is called again. A case published from another mask is a failure unless `replace`.

    Raises what `find_cases` raises, DeviceFailed for a backend that does not work here, and Conflict for a
    dataset with another spec, before anything runs. Errors of one case end up in the summary. Stopping it
    (KeyboardInterrupt) leaves the cases published so far, and nothing else. A dataset that was made here and
    got no case is removed.
    """
    cases = find_cases(labels, images)
    backend = choose_backend(backend)
    is_new = not out.exists()
    dataset = Dataset.create(out, spec, names=names)
    run = _Run(
        dataset,
        len(cases),
        on_event or _silent,
        spacing=spacing,
        backend=backend,
        threads=threads,
        replace=replace,
    )
    for case in cases:
        run.take(case)
    if is_new and not dataset.cases():
        dataset.destroy()
    if images is None:
        return run.summary(without_image=(), unused_images=())
    return run.summary(
        without_image=tuple(case.case for case in cases if case.image is None),
        unused_images=tuple(unused_images(cases, images)),
    )


class _Run:
    """The bookkeeper of one run: takes cases one by one and remembers how each ended."""

    def __init__(
        self,
        dataset: Dataset,
        total: int,
        on_event: Callable[[Event], None],
        *,
        spacing: Spacing | None,
        backend: str,
        threads: int | None,
        replace: bool,
    ) -> None:
        self._dataset, self._total, self._on_event = dataset, total, on_event
        self._spacing = spacing
        self._backend, self._threads, self._replace = backend, threads, replace
        self._done: list[str] = []
        self._skipped: list[str] = []
        self._failed: list[Failure] = []
        self._seconds: Counter[str] = Counter()

    def take(self, case: CaseFile) -> None:
        self._tell(Happening.STARTED, case.case)
        try:
            notes = self._make(case)
        except (DmapsvcError, MemoryError) as error:
            problem = _problem(error, case)
            self._failed.append(Failure(case=case.case, file=case.mask, problem=problem))
            self._tell(Happening.FAILED, case.case, problem=problem)
        else:
            made = notes is not None
            (self._done if made else self._skipped).append(case.case)
            self._tell(Happening.DONE if made else Happening.SKIPPED, case.case, notes=notes or ())

    def summary(self, *, without_image: tuple[str, ...], unused_images: tuple[Path, ...]) -> Summary:
        return Summary(
            done=tuple(self._done),
            skipped=tuple(self._skipped),
            failed=tuple(self._failed),
            without_image=without_image,
            unused_images=unused_images,
            seconds={stage: round(seconds, 3) for stage, seconds in self._seconds.items()},
        )

    def _make(self, case: CaseFile) -> tuple[str, ...] | None:
        """Make what is missing of a case and return its notes; None if nothing was."""
        published = self._published(case.case)
        notes = self._make_mask(case, published)
        if case.image is not None:
            image_notes = self._make_image(case.case, case.image, self._published(case.case))
            notes = image_notes if notes is None else notes + (image_notes or ())
        return notes

    def _make_mask(self, case: CaseFile, published: CaseRecord | None) -> tuple[str, ...] | None:
        sha256 = file_sha256(case.mask)
        if published is not None:
            same = published.id == self._id(case.case, sha256) and self._has_spacing(published)
            if same and not (self._replace and not self._dataset.is_sound(case.case)):
                return None
            if not same and not self._replace:
                raise _other_mask(case, published, sha256)
        outcome = run_case(
            case.mask,
            self._dataset,
            case.case,
            sha256=sha256,
            spacing=self._spacing,
            backend=self._backend,
            threads=self._threads,
            revision=published.revision + 1 if published else 1,
            replace=self._replace,
            progress=partial(self._progress, case.case),
        )
        self._seconds.update(outcome.seconds)
        return outcome.notes

    def _make_image(self, case: str, image: Path, published: CaseRecord | None) -> tuple[str, ...] | None:
        sha256 = file_sha256(image)
        if published and published.image and published.image.sha256 == sha256:
            return None
        outcome = run_image(
            image,
            self._dataset,
            case,
            sha256=sha256,
            spacing=self._spacing,
            progress=partial(self._progress, case),
        )
        self._seconds.update(outcome.seconds)
        return outcome.notes

    def _has_spacing(self, published: CaseRecord) -> bool:
        """Whether a given spacing is the published one; the hash of the file does not say."""
        given, there = self._spacing, published.spacing
        return given is None or there is None or bool(np.allclose(given, there))

    def _published(self, case: str) -> CaseRecord | None:
        try:
            return self._dataset.case(case).record if case in self._dataset else None
        except Damaged:
            if self._replace:
                return None
            raise

    def _id(self, case: str, sha256: str) -> str:
        return map_id(dataset=self._dataset.name, case=case, mask_sha256=sha256, spec=self._dataset.spec)

    def _progress(self, case: str, stage: str, fraction: float) -> None:
        self._tell(Happening.STAGE, case, stage=stage, fraction=fraction)

    def _tell(
        self,
        happening: Happening,
        case: str,
        *,
        stage: str | None = None,
        fraction: float = 0.0,
        notes: tuple[str, ...] = (),
        problem: Problem | None = None,
    ) -> None:
        ended = len(self._done) + len(self._skipped) + len(self._failed)
        self._on_event(
            Event(
                happening=happening,
                case=case,
                ended=ended,
                total=self._total,
                stage=stage,
                fraction=fraction,
                notes=notes,
                problem=problem,
            )
        )


def _other_mask(case: CaseFile, published: CaseRecord, sha256: str) -> Conflict:
    return Conflict(
        f"{case.mask}: case {case.case} is published from another mask (sha256 {published.mask_sha256})",
        f"this one is {sha256}" if sha256 != published.mask_sha256 else "this one has another spacing",
        "Replace it (--replace), or give this mask another name",
    )


def _problem(error: DmapsvcError | MemoryError, case: CaseFile) -> Problem:
    if isinstance(error, MemoryError):
        error = TooLarge(f"{case.mask}: not enough memory", remedy="Run it on a machine with more")
    return error.problem


def _silent(event: Event) -> None:
    pass
