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

from dmapsvc.errors import BadInput, Conflict, Damaged, DmapsvcError, Problem, TooLarge
from dmapsvc.maps import choose_backend
from dmapsvc.pipeline.case import check_memory, file_sha256, run_case, run_image
from dmapsvc.pipeline.folder import CaseFile, find_cases, unused_images
from dmapsvc.spec import MapSpec, Spacing, map_id
from dmapsvc.store import CaseRecord, Dataset
from dmapsvc.volumes import read_header
from dmapsvc.volumes.checks import check_spacing
from dmapsvc.volumes.volume import Kind


class Happening(StrEnum):
    """What an event tells of a case."""

    STARTED = "started"  # it is its turn
    STAGE = "stage"  # it got on: `stage`, `fraction`
    DONE = "done"  # published now
    SKIPPED = "skipped"  # was published already, image and all
    FAILED = "failed"  # its map, or its image, was not published: `problem`


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
    """The file of a case, mask or image, that could not be published, and why."""

    case: str
    file: Path
    problem: Problem


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How a run over a folder ended: names of cases by how they ended, and the seconds each stage took in
    all.

    A case whose map is there and whose image could not be published is in `done` or `skipped`, and in
    `failed`. `without_image` lists the cases for which the folder of images had none, `unused_images` the
    files of it that go with no case; both empty if there was no such folder.
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
    memory_budget: int | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Summary:
    """Make the dataset `out` from every mask in `labels` (`find_cases` says which), with the images in
    `images`.

    `spacing` (z, y, x) in mm is for files that have none, such as NumPy's. The rest as for `run_case`.
    A case that is published with the same mask and spec is skipped, so a run that was stopped goes on when it
    is called again. A case published from another mask is a failure unless `replace`,
    a file that needs more than `memory_budget` bytes of memory is one by its header alone.

    Raises what `find_cases` raises, DeviceFailed for a backend that does not work here, BadSpec for a
    spacing that is none, BadInput if `out` cannot be written, and Conflict for a dataset with another spec,
    before anything runs. Errors of one case end up in the summary. Stopping it
    (KeyboardInterrupt) leaves the cases published so far, and nothing else. A dataset that was made here and
    got no case is removed.
    """
    cases = find_cases(labels, images)
    backend = choose_backend(backend)
    spacing = None if spacing is None else check_spacing(spacing)
    is_new = not out.exists()
    dataset = _create(out, spec, names)
    run = _Run(
        dataset,
        len(cases),
        on_event or _silent,
        spacing=spacing,
        backend=backend,
        threads=threads,
        replace=replace,
        memory_budget=memory_budget,
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


def _create(out: Path, spec: MapSpec, names: dict[int, str] | None) -> Dataset:
    try:
        return Dataset.create(out, spec, names=names)
    except OSError as error:
        raise BadInput(
            f"{out}: the dataset cannot be made there ({error.strerror})",
            "wanted a place that can be written",
            "Name another",
        ) from None


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
        memory_budget: int | None,
    ) -> None:
        self._dataset, self._total, self._on_event = dataset, total, on_event
        self._spacing = spacing
        self._backend, self._threads, self._replace = backend, threads, replace
        self._memory_budget = memory_budget
        self._ended = 0
        self._done: list[str] = []
        self._skipped: list[str] = []
        self._failed: list[Failure] = []
        self._seconds: Counter[str] = Counter()

    def take(self, case: CaseFile) -> None:
        self._tell(Happening.STARTED, case.case)
        notes: list[tuple[str, ...] | None] = []  # of the files that are published; None: was so already
        failure = None
        try:
            file = case.mask
            notes.append(self._make_mask(case.case, case.mask))
            if case.image is not None:
                file = case.image
                notes.append(self._make_image(case.case, case.image))
        except (DmapsvcError, MemoryError) as error:
            failure = Failure(case=case.case, file=file, problem=_problem(error, file))
        self._end(case.case, notes, failure)

    def _end(self, case: str, notes: list[tuple[str, ...] | None], failure: Failure | None) -> None:
        """Remember how a case ended, and tell."""
        new = [words for words in notes if words is not None]
        if notes:
            (self._done if new else self._skipped).append(case)
        if failure is not None:
            self._failed.append(failure)
        self._ended += 1
        self._tell(
            Happening.FAILED if failure else Happening.DONE if new else Happening.SKIPPED,
            case,
            notes=tuple(note for words in new for note in words),
            problem=failure.problem if failure else None,
        )

    def summary(self, *, without_image: tuple[str, ...], unused_images: tuple[Path, ...]) -> Summary:
        return Summary(
            done=tuple(self._done),
            skipped=tuple(self._skipped),
            failed=tuple(self._failed),
            without_image=without_image,
            unused_images=unused_images,
            seconds={stage: round(seconds, 3) for stage, seconds in self._seconds.items()},
        )

    def _make_mask(self, case: str, mask: Path) -> tuple[str, ...] | None:
        """Publish the map of a mask and return its notes; None if that is done already."""
        published = self._published(case)
        sha256 = file_sha256(mask)
        if published is not None:
            same = published.id == self._id(case, sha256) and self._has_spacing(published)
            if same and not (self._replace and not self._dataset.is_sound(case)):
                return None
            if not same and not self._replace:
                raise _other_mask(case, mask, published, sha256)
        self._check_memory(mask, "labels")
        outcome = run_case(
            mask,
            self._dataset,
            case,
            sha256=sha256,
            spacing=self._spacing,
            backend=self._backend,
            threads=self._threads,
            revision=published.revision + 1 if published else 1,
            replace=self._replace,
            progress=partial(self._progress, case),
        )
        self._seconds.update(outcome.seconds)
        return outcome.notes

    def _make_image(self, case: str, image: Path) -> tuple[str, ...] | None:
        """Publish an image beside its mask and return its notes; None if that is done already."""
        published = self._published(case)
        sha256 = file_sha256(image)
        if published and published.image and published.image.sha256 == sha256:
            return None
        self._check_memory(image, "image")
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

    def _check_memory(self, file: Path, kind: Kind) -> None:
        if self._memory_budget is not None:
            header = read_header(file, kind=kind, spacing=self._spacing)
            check_memory(header, kind, budget=self._memory_budget, backend=self._backend, name=file.name)

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
        self._on_event(
            Event(
                happening=happening,
                case=case,
                ended=self._ended,
                total=self._total,
                stage=stage,
                fraction=fraction,
                notes=notes,
                problem=problem,
            )
        )


def _other_mask(case: str, mask: Path, published: CaseRecord, sha256: str) -> Conflict:
    return Conflict(
        f"{mask}: case {case} is published from another mask (sha256 {published.mask_sha256})",
        f"this one is {sha256}" if sha256 != published.mask_sha256 else "this one has another spacing",
        "Replace it (--replace), or give this mask another name",
    )


def _problem(error: DmapsvcError | MemoryError, file: Path) -> Problem:
    if isinstance(error, MemoryError):
        error = TooLarge(f"{file}: not enough memory", remedy="Run it on a machine with more")
    return error.problem


def _silent(event: Event) -> None:
    pass
