"""Which cases are for training, which for validation, which for the test: made by a seed, or given in a file.

The file is JSON, `{"train": [names], "valid": [...], "test": [...]}`. What is done with each side is not
decided here.
"""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmapsvc.errors import BadFile, BadInput, Conflict
from dmapsvc.listing import first_few
from dmapsvc.train.settings import TrainSettings
from dmapsvc.whole import write_json

PARTS = (25, 5, 10)  # of 40 cases: train, valid, test, as Calivá et al. 2019 split theirs
SIDES = ("train", "valid", "test")
_WANTED = ('wanted {"train": [names of cases], "valid": [...], "test": [...]}', "Mend it, or name another")


@dataclass(frozen=True, kw_only=True)
class Split:
    """The names of the cases on each side; no case is on two of them, and `train` has at least one.

    Cases of the dataset may be on none. Raises BadInput, naming them, for cases that are on two sides or
    twice on one, and for an empty `train`.
    """

    train: tuple[str, ...]
    valid: tuple[str, ...] = ()
    test: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.train:
            raise BadInput("a split without training cases", "at least one has to be in train")
        seen: dict[str, str] = {}
        twice = []
        for side in SIDES:
            for case in getattr(self, side):
                if case in seen:
                    twice.append(f"{case} ({seen[case]} and {side})")
                seen.setdefault(case, side)
        if twice:
            raise BadInput(f"on two sides of the split: {first_few(twice)}", "a case is on one side, once")

    @property
    def sides(self) -> dict[str, list[str]]:
        """The names by side, sorted: what the split is, however it was written."""
        return {side: sorted(getattr(self, side)) for side in SIDES}

    def check(self, cases: Collection[str], where: object) -> None:
        """Raises BadInput, about the split that stands at `where`, if it names others than `cases`."""
        there = set(cases)
        unknown = [case for side in SIDES for case in getattr(self, side) if case not in there]
        if unknown:
            raise BadInput(
                f"{where}: not in the dataset: {first_few(unknown)}",
                f"wanted names of its {len(there)} cases",
                "`dmapsvc info` lists them",
            )

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all; raises OSError."""
        write_json(path, {side: list(getattr(self, side)) for side in SIDES})

    @classmethod
    def read(cls, path: Path) -> Split:
        """The split in the file `path`; raises BadFile, or BadInput as above."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise BadFile(f"{path}: {error.strerror}", *_WANTED) from None
        except ValueError as error:
            raise BadFile(f"{path}: no JSON, {error}", *_WANTED) from None
        if not isinstance(content, dict) or not set(content) <= set(SIDES):
            raise BadFile(f"{path}: not a split", *_WANTED)
        for side, names in content.items():
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise BadFile(f"{path}: {side} is no list of names", *_WANTED)
        try:
            return cls(**{side: tuple(content.get(side, ())) for side in SIDES})
        except BadInput as error:
            raise BadInput(f"{path}: {error.found}", error.wanted, "Mend the file") from None


def make_split(cases: Sequence[str], seed: int = 0) -> Split:
    """The split of `cases` in the proportion 25/5/10, at random by `seed`, whatever their order.

    Validation and test get at least one case each, from three cases on; of fewer, all are for training.
    """
    draw = random.Random(seed).random  # whose numbers Python promises to keep, as it does not for shuffle
    shuffled = [case for _, case in sorted((draw(), case) for case in sorted(cases))]
    count = len(shuffled)
    valid, test = (max(1, round(count * part / sum(PARTS))) if count >= 3 else 0 for part in PARTS[1:])
    train = count - valid - test
    return Split(
        train=tuple(sorted(shuffled[:train])),
        valid=tuple(sorted(shuffled[train : train + valid])),
        test=tuple(sorted(shuffled[train + valid :])),
    )


def chosen_split(settings: TrainSettings, cases: Sequence[str], kept: Path) -> Split:
    """The split of a training on a dataset that has `cases`.

    The file `kept`, which the run folder has once it began, counts. Otherwise the file that `settings` name,
    or the split that their seed makes.

    Raises BadInput, naming the cases, if the split has others than `cases`; BadFile if a file is no split;
    Conflict if the training began with another split than the file that `settings` name.
    """
    given = Split.read(settings.split) if settings.split is not None else None
    if not kept.exists():
        split = given or make_split(cases, settings.split_seed)
        split.check(cases, settings.split)
        return split
    split = Split.read(kept)
    if given is not None and given.sides != split.sides:
        raise Conflict(
            f"{settings.split}: another split than {kept}",
            "a training goes on with the split that it began with",
            "Leave the split out, or name another run folder",
        )
    split.check(cases, kept)
    return split
