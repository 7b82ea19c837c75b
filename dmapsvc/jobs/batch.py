"""A batch as it is asked for, as its files come in, and as it is known afterwards: frozen records."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from dmapsvc.errors import Problem
from dmapsvc.jobs.record import Request, State
from dmapsvc.spec import MapSpec, Spacing


@dataclass(frozen=True, kw_only=True)
class BatchAsked:
    """What a batch is made of, as its caller said it: folders of the server, `pattern` for the masks.

    `spacing` (z, y, x) in mm is for files that have none; `replace`: other masks of the cases make room.
    """

    dataset: str
    labels: str
    images: str | None
    pattern: str | None
    spec: MapSpec
    spacing: Spacing | None
    replace: bool

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, for the database."""
        return {**dataclasses.asdict(self), "spec": self.spec.to_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> BatchAsked:
        """The inverse of `to_json`."""
        spacing = data["spacing"]
        return cls(
            **{
                **data,
                "spec": MapSpec.from_json(data["spec"]),
                "spacing": None if spacing is None else tuple(spacing),
            }
        )


@dataclass(frozen=True, kw_only=True)
class BatchFile:
    """One file of a batch: the request that it becomes, and the problem if it can be none."""

    request: Request
    problem: Problem | None = None


class Shelf(Protocol):
    """What is published in the dataset of a batch."""

    @property
    def cases(self) -> Collection[str]:
        """The names of the published cases."""

    def revision(self, case: str) -> int:
        """The revision of a published case; 0 if it is none any more."""

    def check(self) -> None:
        """Raise Conflict unless the dataset is there, with the batch's spec."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch as it stands: `jobs` counts its jobs by state.

    `cases` is how many masks were found, `files` how many files with their images. Of these, `published`
    were skipped, since their cases are published from them, and `under_way` were left to the upload or batch
    that has them in the queue; jobs that a later batch has run again are that one's. `submitted` is False as
    long as files are added, and for good if that was cut short or cancelled: submit it again.
    """

    id: str
    asked: BatchAsked
    created: datetime
    submitted: bool
    cases: int
    files: int
    published: int
    under_way: int
    jobs: dict[State, int]
    seconds_left: float | None = None

    @property
    def live(self) -> int:
        """How many of its jobs have not ended."""
        return sum(count for state, count in self.jobs.items() if state.live)

    @property
    def fraction(self) -> float:
        """The part of its jobs that have ended, 0 to 1."""
        total = sum(self.jobs.values())
        return 1.0 - self.live / total if total else float(self.submitted)


@dataclass(frozen=True, kw_only=True)
class BatchPage:
    """Some batches, newest first; `next` is the cursor of the page after, None on the last."""

    batches: tuple[Batch, ...]
    next: str | None
