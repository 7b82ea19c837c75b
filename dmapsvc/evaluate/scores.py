"""Scores: the measures of each label of each case, and the CSV file that they are kept in.

The file is what `dmapsvc evaluate` leaves and `dmapsvc report` reads; any tool may write one. How a measure
is taken is not known here.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_args, get_type_hints

from dmapsvc.errors import BadFile, BadInput, DmapsvcError
from dmapsvc.evaluate.measures import Measures
from dmapsvc.spec import Units
from dmapsvc.whole import FULL, write_text

_MEASURES = get_type_hints(Measures)
_KINDS: dict[str, type] = {
    "case": str,
    "label": int,
    "name": str,
    "unit": str,
    "tolerance": float,
    **_MEASURES,
}
COLUMNS = tuple(_KINDS)
"""The columns of the file, in their order."""

_REMEDY = "Evaluate again, or name another file"
_PLACE = ("wanted a place for the scores", "Name another")
_WANTED = ("wanted a file that `dmapsvc evaluate` wrote", _REMEDY)


@dataclass(frozen=True, kw_only=True)
class Score(Measures):
    """The measures of one label in one case.

    `label`: its value in the files; `name`: what it is called, in one line, or its value in digits. `unit`:
    of the distances and of `tolerance`, the NSD's.
    """

    case: str
    label: int
    name: str
    unit: Units
    tolerance: float

    @classmethod
    def of(
        cls, measures: Measures, *, case: str, label: int, name: str, unit: Units, tolerance: float
    ) -> Self:
        """The score that `measures` are."""
        return cls(
            **dataclasses.asdict(measures), case=case, label=label, name=name, unit=unit, tolerance=tolerance
        )


def write_scores(path: Path, scores: Iterable[Score]) -> None:
    """Write the file, whole or not at all: a row a score, in their order, numbers to the last bit.

    Raises BadInput where it cannot be written, DmapsvcError where the disk is full.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([getattr(score, column) for column in COLUMNS] for score in scores)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text.getvalue())
    except OSError as error:
        if error.errno in FULL:
            raise DmapsvcError(
                f"{path}: {error.strerror}", remedy="Make room, or name another place"
            ) from None
        raise BadInput(f"{path}: {error.strerror}", *_PLACE) from None


def remove_scores(path: Path) -> bool:
    """Remove the file, whose scores no longer hold; whether there was one. Raises BadInput where it cannot
    be removed.
    """
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}", *_PLACE) from None
    return True


def read_scores(path: Path) -> list[Score]:
    """The scores of a file, in its order.

    Raises BadFile, naming the line, for a file that is none of scores, has a number that is none or not
    finite, or one label of one case twice.
    """
    try:
        text = io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")
        rows = [row for row in csv.reader(text) if row]
    except OSError as error:
        raise BadFile(f"{path}: {error.strerror}", *_WANTED) from None
    except (ValueError, csv.Error) as error:
        raise BadFile(f"{path}: no CSV file, {error}", *_WANTED) from None
    if not rows or set(rows[0]) != set(COLUMNS):
        raise BadFile(f"{path}: its columns are not those of scores", f"wanted {','.join(COLUMNS)}")
    scores = [
        _score(path, line, dict(zip(rows[0], row, strict=False))) for line, row in enumerate(rows[1:], 2)
    ]
    _check_once(path, scores)
    return scores


def _score(path: Path, line: int, row: dict[str, str]) -> Score:
    where = f"{path}: line {line}"
    try:
        values = {column: _value(f"{where}: {column}", row[column], _KINDS[column]) for column in COLUMNS}
    except KeyError as error:
        raise BadFile(f"{where}: no {error.args[0]}", "a row has a value for every column", _REMEDY) from None
    if values["unit"] not in get_args(Units):
        raise BadFile(f"{where}: unit is {values['unit']!r}", "wanted mm or voxel", _REMEDY)
    return Score(**values)


def _value(what: str, text: str, kind: type) -> Any:
    if kind is str:
        return text
    try:
        number = kind(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise BadFile(f"{what} is {text!r}", "wanted a finite number", _REMEDY)
    return number


def _check_once(path: Path, scores: list[Score]) -> None:
    seen: set[tuple[str, int]] = set()
    for score in scores:
        if (score.case, score.label) in seen:
            raise BadFile(
                f"{path}: label {score.label} of case {score.case!r} is there twice",
                "wanted once",
                _REMEDY,
            )
        seen.add((score.case, score.label))
