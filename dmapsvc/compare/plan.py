"""Which runs a comparison has, and where each lies. Pure functions of the configuration and the choice.

Whether a run is done, its folder says: `outcome.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from dmapsvc.compare.config import Config
from dmapsvc.compare.contenders import CONTENDERS
from dmapsvc.errors import BadInput
from dmapsvc.train.settings import TrainSettings

SEARCH_SEED = 1000  # the first seed of the search: no run that is scored was looked at when choosing

Values = Mapping[str, Any]
"""Fields of `TrainSettings` and what they are in one combination of the search."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a comparison lies: the dataset's location, and the folder that everything goes to."""

    location: str | Path
    out: Path

    @property
    def split(self) -> Path:
        """Which cases are for training, validation and test, in every run."""
        return self.out / "split.json"

    @property
    def runs(self) -> Path:
        """The folder of the runs that are scored, which the report is made of."""
        return self.out / "runs"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training: of `contender`, with the searched fields at `values`, in the folder `settings.out`."""

    name: str
    contender: str
    values: Values
    settings: TrainSettings

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.settings.out


def combinations(search: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of the values of `search`, the last field changing fastest; [{}] of no field."""
    return [dict(zip(search, values, strict=True)) for values in product(*search.values())]


def values_name(values: Values) -> str:
    """'lr=0.001,patch=32x64x64', a folder's name."""
    return ",".join(f"{name}={_word(value)}" for name, value in values.items())


def search_runs(config: Config, place: Place) -> list[Run]:
    """Every training of the search; none if there is nothing to choose from.

    Seed by seed, so that a search that is cut short has looked at all values alike often.

    Raises BadInput for settings that cannot be, and for values that are the same, or hardly another.
    """
    tried = combinations(config.search)
    if len(tried) == 1:
        return []
    names = [values_name(values) for values in tried]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadInput(f"search: {twice} twice", "values are told apart by six digits", "Name each once")
    return [
        _search_run(config, place, contender, values, SEARCH_SEED + number)
        for number in range(config.search_seeds)
        for values in tried
        for contender in config.contenders
    ]


def only_values(config: Config) -> Values:
    """The values of the searched fields, where each has one."""
    return combinations(config.search)[0]


def planned_runs(config: Config, place: Place) -> list[Run]:
    """The trainings that are scored, with the first values in the place of those that will be chosen."""
    return scored_runs(config, place, dict.fromkeys(config.contenders, only_values(config)))


def scored_runs(config: Config, place: Place, chosen: Mapping[str, Values]) -> list[Run]:
    """The trainings with the `chosen` values, of the contenders that have some.

    Seed by seed, so that a comparison that is cut short has every contender alike often.

    Raises BadInput for settings that cannot be.
    """
    return [
        _run(config, place, f"runs/{contender}/seed-{seed}", contender, chosen[contender], seed)
        for seed in range(config.seeds)
        for contender in config.contenders
        if contender in chosen
    ]


def _search_run(config: Config, place: Place, contender: str, values: Values, seed: int) -> Run:
    name = f"search/{contender}/{values_name(values)}/seed-{seed}"
    run = _run(config, place, name, contender, values, seed)
    steps = config.search_steps or run.settings.steps
    return replace(run, settings=replace(run.settings, steps=steps))


def _run(config: Config, place: Place, name: str, contender: str, values: Values, seed: int) -> Run:
    kind = CONTENDERS[contender]
    own: dict[str, Any] = {"loss": kind.loss, "scale": kind.scale, "seed": seed, "split": place.split}
    settings = TrainSettings(
        location=place.location, out=place.out / name, **{**config.train, **values, **own}
    )
    return Run(name=name, contender=contender, values=values, settings=settings)


def _word(value: object) -> str:
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
