"""Which subject is made of which anatomy, and on which side of the split it stands.

Nothing is drawn here. What an anatomy is, the caller knows: here it is a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dmapsvc.errors import BadInput

SIZES = {"train": 25, "valid": 5, "test": 10}  # as Calivá et al. 2019 split their 40
SUBJECTS = sum(SIZES.values())


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A subject to be made: its name, its side of the split, and the number of its anatomy."""

    name: str
    number: int
    side: str
    anatomy: int


def lineup(anatomies: int) -> tuple[Subject, ...]:
    """The SUBJECTS subjects, made of so many anatomies.

    A test subject's anatomy is never that of a training subject, unless there is a single one. Validation has
    anatomies of its own from four on, and training's before. The sides share them out in the proportion of
    their sizes, at least one each. Raises BadInput for no anatomy.
    """
    if anatomies < 1:
        raise BadInput("no anatomy", "at least one is wanted")
    own = _shared_out(anatomies)
    sides = [(side, own[side][turn % len(own[side])]) for side, size in SIZES.items() for turn in range(size)]
    return tuple(
        Subject(name=f"knee{number:02}", number=number, side=side, anatomy=anatomy)
        for number, (side, anatomy) in enumerate(sides, start=1)
    )


def shares_anatomies(subjects: Sequence[Subject]) -> bool:
    """Whether a test subject is made of an anatomy that a training subject is made of."""
    trained = {subject.anatomy for subject in subjects if subject.side == "train"}
    return any(subject.anatomy in trained for subject in subjects if subject.side == "test")


def _shared_out(anatomies: int) -> dict[str, Sequence[int]]:
    """The numbers of the anatomies of each side."""
    valid = _part(anatomies, "valid") if anatomies > 3 else 0
    test = _part(anatomies, "test") if anatomies > 1 else 0
    train = range(anatomies - valid - test)
    return {
        "train": train,
        "valid": range(len(train), len(train) + valid) or train,
        "test": range(anatomies - test, anatomies) or train,
    }


def _part(anatomies: int, side: str) -> int:
    return max(1, round(anatomies * SIZES[side] / SUBJECTS))
