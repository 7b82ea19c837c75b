"""Who knows how many cases of a run have ended, and how.

It hears the reports of all lanes in one thread, tells a listener, and sums up at the end.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from dmapsvc.errors import Problem
from dmapsvc.pipeline.events import Ending, Event, Happening, Step
from dmapsvc.pipeline.summary import Summary


class Bookkeeper:
    """Counts the endings of `total` cases and tells `on_event`; its clock starts when it is made."""

    def __init__(self, total: int, on_event: Callable[[Event], None]) -> None:
        self._total, self._on_event = total, on_event
        self._start = time.perf_counter()
        self._endings: list[Ending] = []

    def hear(self, report: Step | Ending) -> None:
        """Remember a report and tell of it."""
        if isinstance(report, Ending):
            self._endings.append(report)
            problem = report.failure.problem if report.failure else None
            self._tell(report.happening, report.case, notes=report.notes, problem=problem)
        elif report.stage is None:
            self._tell(Happening.STARTED, report.case)
        else:
            self._tell(Happening.STAGE, report.case, stage=report.stage, fraction=report.fraction)

    def summary(self, *, lanes: int, without_image: list[str], unused_images: list[Path]) -> Summary:
        """How it went until now."""
        seconds = Counter[str]()
        for ending in self._endings:
            seconds.update(ending.seconds)
        endings = sorted(self._endings, key=lambda ending: ending.case)
        return Summary(
            done=tuple(ending.case for ending in endings if ending.there and ending.new),
            skipped=tuple(ending.case for ending in endings if ending.there and not ending.new),
            failed=tuple(ending.failure for ending in endings if ending.failure is not None),
            without_image=tuple(without_image),
            unused_images=tuple(unused_images),
            seconds={stage: round(duration, 3) for stage, duration in seconds.items()},
            wall=time.perf_counter() - self._start,
            voxels=sum(ending.voxels for ending in endings),
            lanes=lanes,
        )

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
                ended=len(self._endings),
                total=self._total,
                stage=stage,
                fraction=fraction,
                notes=notes,
                problem=problem,
            )
        )
