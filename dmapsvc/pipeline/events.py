"""What a run over a folder tells of its cases while it goes on.

Plain records: lanes report how a case gets on and how it ended, a listener hears of it as events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from dmapsvc.errors import Problem


class Happening(StrEnum):
    """What an event tells of a case."""

    STARTED = "started"  # it is its turn
    STAGE = "stage"  # it got on: `stage`, `fraction`
    DONE = "done"  # published now
    SKIPPED = "skipped"  # was published already, image and all
    FAILED = "failed"  # its map, or its image, was not published: `problem`


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something happened to `case`; `ended` of `total` cases have ended, this one included if it has.

    Several cases are under way at once. Of one case the events come in order, STARTED first and one of DONE,
    SKIPPED and FAILED last, its `fraction` never falling; `ended` never falls over all of them.
    """

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
class Step:
    """A case is under way: at `fraction` of its whole, 0 to 1, in `stage`; None: it was just taken."""

    case: str
    stage: str | None = None
    fraction: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a case ended.

    `there`: its map is published; `new`: that, or its image, was done by this run. `notes`, `seconds` by
    stage and `voxels` are of what was done now. A case that is there and whose image could not be published
    has a `failure` too.
    """

    case: str
    there: bool
    new: bool
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    voxels: int = 0
    failure: Failure | None = None

    @property
    def happening(self) -> Happening:
        """How an event calls it."""
        if self.failure is not None:
            return Happening.FAILED
        return Happening.DONE if self.new else Happening.SKIPPED
