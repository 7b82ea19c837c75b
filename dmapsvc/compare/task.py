"""What one process does: a run's training, then the test cases predicted and scored, as far as is missing.

Which runs there are, and whether the test cases may be scored yet, is not decided here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dmapsvc.compare.outcome import Outcome, best_score, is_scored, is_trained
from dmapsvc.compare.plan import Run
from dmapsvc.errors import DmapsvcError, Problem
from dmapsvc.runfiles import PREDICTIONS, SCORES
from dmapsvc.train.lock import alone_in

if TYPE_CHECKING:
    from dmapsvc.train.progress import Step

_PAUSE = 0.5  # seconds between two words on how a training goes


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How test cases are scored: `cases` by name, how predictions are made, and the surface's tolerance."""

    cases: tuple[str, ...]
    closing: int
    components: int
    overlap: float
    tolerance: float


@dataclass(frozen=True, kw_only=True)
class Task:
    """A run, the `threads` that its network may take, and how it is scored; None: it is only trained."""

    run: Run
    threads: int
    scoring: Scoring | None = None

    @property
    def is_done(self) -> bool:
        """Whether nothing is missing."""
        folder = self.run.folder
        return is_trained(folder) and (self.scoring is None or is_scored(folder))


@dataclass(frozen=True, kw_only=True)
class News:
    """How far a run is: after `step` steps; `doing` is what goes on, in a word or two."""

    step: int
    doing: str


def work(task: Task, tell: Callable[[News], None]) -> None:
    """Do what is missing of `task`.

    Raises what `train`, `predict` and `evaluate` raise; the next call goes on where this one ended.
    """
    import torch

    torch.set_num_threads(task.threads)
    tell(News(step=0, doing="begins"))
    with alone_in(
        task.run.folder, what="comparison", wait=True
    ):  # of a killed comparison, a process may still be saving
        if not is_trained(task.run.folder):
            _train(task.run, tell)
        if task.scoring is not None and not is_scored(task.run.folder):
            _score(task, task.scoring, tell)


def _train(run: Run, tell: Callable[[News], None]) -> None:
    from dmapsvc.train import train

    told = 0.0

    def tell_now_and_then(news: News) -> None:
        nonlocal told
        if time.monotonic() - told >= _PAUSE:
            told = time.monotonic()
            tell(news)

    def on_step(step: Step) -> None:
        tell_now_and_then(News(step=step.step, doing=f"step {step.step}/{step.steps}"))

    def on_validation(done: float, total: int) -> None:
        tell_now_and_then(News(step=0, doing=f"validated {int(done)}/{total}"))

    trained = train(run.settings, on_step, on_validation=on_validation)
    Outcome(steps=trained.checkpoint("last").step, score=best_score(run.folder, run.settings.select)).write(
        run.folder
    )


def _score(task: Task, scoring: Scoring, tell: Callable[[News], None]) -> None:
    """Predict the test cases by the best checkpoint, and score them; predictions that are there are kept."""
    from dmapsvc.evaluate.evaluation import evaluate
    from dmapsvc.evaluate.scores import write_scores
    from dmapsvc.train.predictions import predict

    settings, folder = task.run.settings, task.run.folder
    predicted = predict(
        folder,
        settings.location,
        folder / PREDICTIONS,
        cases=scoring.cases,
        overlap=scoring.overlap,
        closing=scoring.closing,
        components=scoring.components,
        device=settings.device,
        on_case=lambda done, total, case: tell(News(step=0, doing=f"predicted {done}/{total}")),
    )
    _check_all(dict(predicted.failed), "predicted")
    scored = evaluate(
        settings.location,
        folder / PREDICTIONS,
        cases=scoring.cases,
        tolerance=scoring.tolerance,
        jobs=1,  # other runs have the other cores
        on_case=lambda done, total, case: tell(News(step=0, doing=f"scored {done}/{total}")),
    )
    _check_all({one.case: one.problem for one in scored.failed}, "scored")
    write_scores(folder / SCORES, scored.scores)


def _check_all(failed: Mapping[str, Problem], what: str) -> None:
    """Raises DmapsvcError with the first reason if cases failed: a run is scored on all of them or none."""
    if failed:
        case, problem = next(iter(failed.items()))
        raise DmapsvcError(
            f"{len(failed)} test cases could not be {what}, the first {case!r}: {problem.detail}"
        )
