"""What a comparison is asked to do: one frozen record, and the TOML file it is read from.

Which runs that makes is `plan.py`'s.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dmapsvc.compare.contenders import DEFAULT, check_contenders
from dmapsvc.errors import BadFile, BadInput
from dmapsvc.train.settings import FIELDS, checked_fields

# what the comparison itself gives each run
_OWN = ("location", "out", "loss", "scale", "seed")
# what decides by what measure, on which cases and for how long a choice is made is no matter of choice
_FIXED = ("steps", "validate_every", "patience", "select", "split", "split_seed")
# where a run is done is not what it learns
_PLACES = ("threads", "device", "save_every")
# may change when a comparison goes on: which runs there are, and where they run, is not what they learn
_FREE = ("contenders", "seeds", "jobs")
_FREE_TRAIN = ("split", *_PLACES)  # the folder keeps its split


@dataclass(frozen=True, kw_only=True)
class Config:
    """A comparison of `contenders`, each trained with seeds 0 to `seeds` - 1, `jobs` runs at once.

    `train`: fields of `TrainSettings` that are the same for every run. `search`: fields and the values that
    are tried of them; every contender is trained with every combination, `search_seeds` times, for
    `search_steps` steps (None: as many as in the end), and takes the combination with the best validation.
    `closing` (voxels) and `components` (0: none) clean predictions; `overlap` is that of the sliding window.
    `tolerance` of the surface Dice, in mm, or in voxels where the dataset has no spacing.

    Raises BadInput for a value that cannot be.
    """

    contenders: tuple[str, ...] = DEFAULT
    seeds: int = 5
    jobs: int = 1
    search_seeds: int = 1
    search_steps: int | None = None
    train: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    closing: int = 0
    components: int = 0
    overlap: float = 0.5
    tolerance: float = 1.0

    def __post_init__(self) -> None:
        check_contenders(self.contenders)
        for name in ("seeds", "jobs", "search_seeds"):
            _check(name, getattr(self, name), _is_whole(getattr(self, name), 1), "at least 1")
        steps = self.search_steps
        _check("search_steps", steps, steps is None or _is_whole(steps, 1), "at least 1")
        for name in ("closing", "components"):
            _check(name, getattr(self, name), _is_whole(getattr(self, name), 0), "at least 0")
        object.__setattr__(self, "train", _fields(self.train, "train"))
        for name, values in self.search.items():
            _check(f"search {name}", values, bool(values), "at least one value")
        searched = {
            name: tuple(_searched(name, value, "search") for value in values)
            for name, values in self.search.items()
        }
        object.__setattr__(self, "search", searched)
        _check("overlap", self.overlap, _is_number(self.overlap) and 0 <= self.overlap < 1, "0 to below 1")
        tolerable = _is_number(self.tolerance) and 0 <= self.tolerance < float("inf")
        _check("tolerance", self.tolerance, tolerable, "a length of 0 or more")

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        plain: dict[str, Any] = _plain(dataclasses.asdict(self))
        return plain

    @classmethod
    def from_toml(cls, path: Path) -> Config:
        """The comparison that a file describes, as docs/compare.md shows it.

        Raises BadFile for a file that is no TOML; BadInput for a key that there is none of (the nearest is
        named) and for a value that cannot be.
        """
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise BadFile(f"{path}: {error}", "wanted a TOML file", "docs/compare.md shows one") from None
        return cls(**_arguments(content, str(path)))


def identity(plain: Mapping[str, Any]) -> dict[str, Any]:
    """What has to stay when a comparison goes on, of what `Config.to_json` gave; by the names in the file."""
    own = {name: plain[name] for name in plain if name not in ("train", "search", *_FREE)}
    train = {f"[train] {name}": plain["train"][name] for name in plain["train"] if name not in _FREE_TRAIN}
    return {**own, **train, **{f"[search] {name}": values for name, values in plain["search"].items()}}


_TABLES: dict[str, tuple[str, ...]] = {
    "predict": ("closing", "components", "overlap"),
    "evaluate": ("tolerance",),
}
_TOP = ("contenders", "seeds", "jobs", "search_seeds", "search_steps", "train", "search", *_TABLES)


def _arguments(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The fields of `Config` from a TOML file's tables."""
    _check_keys(content, _TOP, where)
    values = {name: value for name, value in content.items() if name not in ("train", "search", *_TABLES)}
    if "contenders" in values:
        values["contenders"] = tuple(_list(values["contenders"], f"{where}: contenders"))
    for name, keys in _TABLES.items():
        table = _table(content, name, where)
        _check_keys(table, keys, f"{where}: [{name}]")
        values |= table
    values["train"] = _fields(_table(content, "train", where), f"{where}: [train]")
    tried = {
        name: _list(listed, f"{where}: [search] {name}")
        for name, listed in _table(content, "search", where).items()
    }
    values["search"] = {
        name: tuple(_searched(name, value, f"{where}: [search]") for value in listed)
        for name, listed in tried.items()
    }
    return values


def _fields(content: Mapping[str, Any], where: str, refused: tuple[str, ...] = _OWN) -> dict[str, Any]:
    """Arguments of `TrainSettings`; raises BadInput for those that the comparison gives its runs."""
    for name in content:
        if name in _OWN:
            raise BadInput(f"{where}: {name}", "the comparison itself gives that to its runs", "Leave it out")
    return checked_fields(content, where, [name for name in FIELDS if name not in refused])


def _searched(name: str, value: Any, where: str) -> Any:
    """A value that is to be tried of a field; raises BadInput also for what all that is tried has alike."""
    if name in (*_FIXED, *_PLACES):
        raise BadInput(
            f"{where}: {name}",
            "what is tried is told apart by validation, for which this has to be the same",
            "Set it in [train]" + (", or search_steps for the search alone" if name == "steps" else ""),
        )
    return _fields({name: value}, where, (*_OWN, *_FIXED, *_PLACES))[name]


def _check_keys(content: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    for key in content:
        if key not in keys:
            near = get_close_matches(key, keys, n=1)
            raise BadInput(
                f"{where}: there is no key {key!r}",
                f"wanted some of {', '.join(keys)}",
                f"Did you mean {near[0]!r}?" if near else "",
            )


def _table(content: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    table = content.get(name, {})
    if not isinstance(table, dict):
        raise BadInput(f"{where}: {name} is {table!r}", f"wanted a table, [{name}]")
    return table


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise BadInput(f"{where} is {value!r}", "wanted a list, like [1e-4, 1e-3]")
    return value


def _check(name: str, value: object, holds: bool, wanted: str) -> None:
    if not holds:
        raise BadInput(f"{name} is {value!r}", f"wanted {wanted}")


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    """`value` in what JSON knows."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value
