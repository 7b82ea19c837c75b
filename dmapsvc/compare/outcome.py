"""What a run has left in its folder when it is through, and how far one is that is not."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from dmapsvc.runfiles import HISTORY, SCORES
from dmapsvc.whole import write_json

_FILE = "outcome.json"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a training ended: after `steps` steps, its best validation at `score`, None without validation."""

    steps: int
    score: float | None

    def write(self, folder: Path) -> None:
        """Note it in the run's folder, whole or not at all."""
        write_json(folder / _FILE, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Outcome | None:
        """The outcome of the training in `folder`; None while it is not through."""
        try:
            return cls(**json.loads((folder / _FILE).read_text()))
        except FileNotFoundError:
            return None


def is_trained(folder: Path) -> bool:
    """Whether the training in `folder` is through."""
    return (folder / _FILE).exists()


def is_scored(folder: Path) -> bool:
    """Whether the run in `folder` has its scores of the test cases."""
    return (folder / SCORES).exists()


def steps_made(folder: Path) -> int:
    """After how many steps the run in `folder` was validated last; 0 if it never was."""
    return max((step for step, _ in _validations(folder, "step")), default=0)


def best_score(folder: Path, select: str) -> float | None:
    """The best validation of the run in `folder` by `select`, a column of its history."""
    return max((score for _, score in _validations(folder, select)), default=None)


def _validations(folder: Path, column: str) -> list[tuple[int, float]]:
    """Step and `column` of each row of the history that has it."""
    try:
        with (folder / HISTORY).open(newline="", encoding="utf-8") as file:
            return [(int(row["step"]), float(row[column])) for row in csv.DictReader(file) if row[column]]
    except FileNotFoundError:
        return []
