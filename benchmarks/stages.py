"""The stages of `dmapsvc precompute`, each with nothing beside it.

What a run could take at best is judged by them; the run itself is measured in `precompute.py`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dmapsvc.pipeline import find_cases, run_case
from dmapsvc.spec import MapSpec
from dmapsvc.store import Dataset


@dataclass(frozen=True, kw_only=True)
class Alone:
    """Seconds of each stage, added up over all cases, made one at a time; CPU seconds of all of it."""

    seconds: dict[str, float]
    cpu_seconds: float

    @property
    def busiest(self) -> str:
        """The stage that takes longest."""
        return max(self.seconds, key=lambda stage: self.seconds[stage])


def alone(folder: Path, out: Path, spec: MapSpec, tell: Callable[[str], None] = lambda case: None) -> Alone:
    """Make every case of `folder` into the new dataset `out`, through the same `run_case` as in a run.

    The first is made twice, and counted the second time, when all is compiled and loaded. `tell` hears
    whose turn it is.
    """
    dataset, cases = Dataset.create(out, spec), find_cases(folder)
    run_case(cases[0].mask, dataset, "first")
    seconds: Counter[str] = Counter()
    start = time.process_time()
    for case in cases:
        tell(case.case)
        seconds.update(run_case(case.mask, dataset, case.case).seconds)
    return Alone(seconds=dict(seconds), cpu_seconds=time.process_time() - start)
