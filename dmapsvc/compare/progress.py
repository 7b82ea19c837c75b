"""How far a whole comparison is, in steps of training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dmapsvc.compare.outcome import is_trained, steps_made
from dmapsvc.compare.plan import Run
from dmapsvc.compare.task import News

_RUNS = "runs/"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a comparison is: `steps` of `total` steps, `ended` of `runs` runs.

    Runs that ended early, as their validation no longer improved, count with all their steps. `doing`: what
    goes on in the runs that are under way, by name.
    """

    steps: int
    total: int
    ended: int
    runs: int
    doing: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """'3 of 40 runs; step 120/400 (focal/seed-0), predicted 1/4 (dice/seed-0)'; numbers first, as a
        terminal cuts what it has no room for.
        """
        lines = ", ".join(f"{doing} ({name.removeprefix(_RUNS)})" for name, doing in self.doing.items())
        return f"{self.ended} of {self.runs} runs" + (f"; {lines}" if lines else "")


class Tally:
    """Adds up what the `planned` runs of a comparison tell."""

    def __init__(self, planned: Sequence[Run]) -> None:
        self._total = sum(run.settings.steps for run in planned)
        self._runs = len(planned)
        self._made: dict[str, int] = {}
        self._doing: dict[str, str] = {}
        self._ended: set[str] = set()

    def through(self, runs: Iterable[Run]) -> None:
        """There is nothing left to do for `runs` in this call."""
        for run in runs:
            self._made[run.name] = run.settings.steps
            self._ended.add(run.name)
            self._doing.pop(run.name, None)

    def begin(self, runs: Iterable[Run]) -> None:
        """Take `runs` in, each as far as it got in earlier calls."""
        for run in runs:
            self._made[run.name] = run.settings.steps if is_trained(run.folder) else steps_made(run.folder)

    def hear(self, name: str, news: News) -> None:
        """A run is so far."""
        self._made[name] = max(news.step, self._made[name])
        self._doing[name] = news.doing

    @property
    def now(self) -> Progress:
        """How far it all is."""
        return Progress(
            steps=sum(self._made.values()),
            total=self._total,
            ended=len(self._ended),
            runs=self._runs,
            doing=dict(self._doing),
        )
