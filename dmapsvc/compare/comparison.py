"""The comparison from end to end: search, choose, train, score, report, each as far as it is missing.

A call goes on from what the folder holds, however the one before ended. The test cases are scored only once
every contender's values are chosen.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dmapsvc.compare.choice import answers, choose, read_choice, write_choice, write_tried
from dmapsvc.compare.config import Config
from dmapsvc.compare.kept import check_config, keep_config, keep_split
from dmapsvc.compare.outcome import is_scored
from dmapsvc.compare.plan import (
    Place,
    Run,
    Values,
    only_values,
    planned_runs,
    scored_runs,
    search_runs,
)
from dmapsvc.compare.processes import Failure, Processes
from dmapsvc.compare.progress import Progress, Tally
from dmapsvc.compare.task import News, Scoring, Task, work
from dmapsvc.train.lock import alone_in
from dmapsvc.train.split import Split

_LOG, _REPORT = "log.txt", "report"


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a comparison ended.

    `chosen`: each contender's values from the search. `scored`: the names of the runs that have their scores
    now. `failed`: why, of the runs and contenders that have none. `report`: its page; None if nothing is
    scored.
    """

    chosen: Mapping[str, Values]
    scored: tuple[str, ...]
    failed: Mapping[str, str]
    report: Path | None


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Who hears how it goes: `progress` often, `ended` once a run, with its name and why it failed, if so;
    `stopping` when Ctrl-C was heard, with how many runs have to save first.
    """

    progress: Callable[[Progress], None] = field(default=lambda progress: None)
    ended: Callable[[str, str | None], None] = field(default=lambda name, reason: None)
    stopping: Callable[[int], None] = field(default=lambda runs: None)


def compare(config: Config, location: str | Path, out: Path, listener: Listener | None = None) -> Result:
    """Compare the contenders of `config` on the dataset at `location`, a folder or URL, in the folder `out`.

    The same call goes on where the last one ended, and makes what failed again. Contenders and seeds may be
    more or fewer then; what each run is may not differ. One run that fails does not stop the others:
    `Result.failed` names it. Runs are processes of their own, so a script that calls this has to be guarded
    by `if __name__ == "__main__"`. KeyboardInterrupt goes on to the caller once every run has saved its
    checkpoint.

    Raises BadInput for settings that cannot be and for a split without the cases that are needed; Conflict if
    `out` holds another comparison, or is being worked in; what `open_source` raises.
    """
    place = Place(location=location, out=out)
    with alone_in(out, what="comparison"):
        check_config(config, place)
        comparison = _Comparison(config, place, listener or Listener())
        keep_config(config, place)
        return comparison.to_the_end()


class _Comparison:
    """One call: what is planned, what is done by now, and what failed."""

    def __init__(self, config: Config, place: Place, listener: Listener) -> None:
        self._config, self._place, self._listener = config, place, listener
        self._search = search_runs(config, place)
        planned = planned_runs(config, place)
        self._scoring = _scoring(config, keep_split(config, place, planned[0]))
        self._tally = Tally([*self._search, *planned])
        self._failed: dict[str, str] = {}

    def to_the_end(self) -> Result:
        """Search, train, score, report."""
        config, choice = self._config, self._choose()
        chosen = {name: values for name in config.contenders if (values := choice.get(name)) is not None}
        runs = scored_runs(config, self._place, chosen)
        frozen = all(name in choice for name in config.contenders)
        self._do([self._task(run, self._scoring if frozen else None) for run in runs])
        scored = tuple(run.name for run in runs if is_scored(run.folder))
        page = report(self._place, self._drawing) if scored else None
        return Result(chosen=chosen, scored=scored, failed=self._failed, report=page)

    def _drawing(self, figure: str, done: int, total: int) -> None:
        doing = {"report": f"{figure}, figure {done + 1} of {total}"}
        self._listener.progress(replace(self._tally.now, doing=doing))

    def _choose(self) -> dict[str, Values | None]:
        """Every contender's values, as far as its search is through; what is missing of it is done first."""
        place, config = self._place, self._config
        if not self._search:
            return dict.fromkeys(config.contenders, only_values(config))
        choice = read_choice(place.out)
        asked = [run for run in self._search if run.contender not in choice]
        self._tally.through(run for run in self._search if run.contender in choice)
        hopeless = self._do([self._task(run) for run in asked])
        for contender, tried in answers(asked, hopeless).items():
            if tried is None:
                self._failed[contender] = "its search is not through; no test case is scored before it is"
            else:
                choice[contender] = choose(tried)
                for one in tried:  # that values cannot be trained with is an answer
                    self._failed.pop(one.run.name, None)
        write_choice(place.out, choice)
        everyone = tuple(dict.fromkeys((*choice, *config.contenders)))  # of earlier calls, too
        write_tried(place.out, search_runs(replace(config, contenders=everyone), place), choice)
        barren = [name for name in config.contenders if name in choice and choice[name] is None]
        self._failed |= dict.fromkeys(barren, "none of the values that were tried can be trained with")
        return choice

    def _task(self, run: Run, scoring: Scoring | None = None) -> Task:
        threads = max(1, len(os.sched_getaffinity(0)) // self._config.jobs)
        return Task(run=run, threads=threads, scoring=scoring)

    def _do(self, tasks: Sequence[Task]) -> set[str]:
        """Do what is missing of `tasks`; the names of those that can only fail with what they are given."""
        missing = {task.run.name: task for task in tasks if not task.is_done}
        self._tally.through(task.run for task in tasks if task.is_done)
        self._tally.begin(task.run for task in missing.values())
        hopeless: set[str] = set()

        def heard(name: str, news: News) -> None:
            self._tally.hear(name, news)
            self._listener.progress(self._tally.now)

        def ended(name: str, failure: Failure | None) -> None:
            self._tally.through([missing[name].run])
            self._listener.ended(name, None if failure is None else failure.reason)
            self._listener.progress(self._tally.now)
            if failure is not None:
                self._failed[name] = failure.reason
                if failure.hopeless:
                    hopeless.add(name)

        if missing:
            self._listener.progress(self._tally.now)
        Processes(work, at_once=self._config.jobs, log=_log).run(
            missing, heard, ended, self._listener.stopping
        )
        return hopeless


def report(place: Place, on_figure: Callable[[str, int, int], None]) -> Path:
    """Write the report of all runs that are scored, with surface errors by the dataset's labels; its page."""
    from dmapsvc.report.writing import write_report  # draws: heavy to import

    return write_report(place.runs, place.out / _REPORT, truth=place.location, on_figure=on_figure)


def _scoring(config: Config, split: Split) -> Scoring:
    return Scoring(
        cases=split.test,
        closing=config.closing,
        components=config.components,
        overlap=config.overlap,
        tolerance=config.tolerance,
    )


def _log(task: Task) -> Path:
    return task.run.folder / _LOG
