"""The course of a training, row by row: its loss, rate and validations, as `history.csv` and checkpoints keep
it.

What is best so far, and for how long nothing was better, is read off the rows. No torch here.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmapsvc.train.settings import Select
from dmapsvc.whole import write_text


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What the network scores after `step` steps: G-DSC and B-DSC at tolerance 0, both in [0, 1], the mean
    over the validation cases of each case's mean over the classes but the background.
    """

    step: int
    g_dsc: float
    b_dsc: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the history.

    `step`: how many are done. `seconds`: that the training took so far, all its runs together. `loss`: the
    mean since the row before. `lr`: the learning rate of the last step. `g_dsc`, `b_dsc`: of the validation
    at this step; None where there are no cases to validate on.
    """

    step: int
    seconds: float
    loss: float
    lr: float
    g_dsc: float | None
    b_dsc: float | None


class History:
    """The rows so far, the losses since the last one, and a clock that runs from when this is made.

    `latest`: the last validation. `best`: the first of those with the largest `select`. `since_best`: how
    many validations were made after it.
    """

    def __init__(self, select: Select) -> None:
        self._select = select
        self.rows: list[Row] = []
        self.latest: Validation | None = None
        self.best: Validation | None = None
        self.since_best = 0
        self._sum, self._count = 0.0, 0
        self._began = time.perf_counter()

    def add_loss(self, loss: float) -> None:
        """One more step had this loss."""
        self._sum += loss
        self._count += 1

    def add_row(self, step: int, lr: float, validation: Validation | None) -> None:
        """End the row of the losses since the last one; at least one was added."""
        row = Row(
            step=step,
            seconds=round(self.seconds, 3),
            loss=self._sum / self._count,
            lr=lr,
            g_dsc=None if validation is None else validation.g_dsc,
            b_dsc=None if validation is None else validation.b_dsc,
        )
        self._append(row)
        self._sum, self._count = 0.0, 0

    @property
    def seconds(self) -> float:
        """How long the training has run, all its runs together."""
        return time.perf_counter() - self._began

    @property
    def step(self) -> int:
        """The step of the last row; 0 before the first."""
        return self.rows[-1].step if self.rows else 0

    def state_dict(self) -> dict[str, Any]:
        """All of it in plain values."""
        rows = [list(dataclasses.astuple(row)) for row in self.rows]
        return {"rows": rows, "sum": self._sum, "count": self._count, "seconds": self.seconds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        for values in state["rows"]:
            self._append(Row(**dict(zip(COLUMNS, values, strict=True))))
        self._sum, self._count = state["sum"], state["count"]
        self._began = time.perf_counter() - state["seconds"]

    def write(self, path: Path) -> None:
        """All rows as CSV under the names of `Row`'s fields, whole or not at all; raises OSError."""
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(COLUMNS)
        lines.writerows(dataclasses.astuple(row) for row in self.rows)  # None becomes an empty cell
        write_text(path, text.getvalue())

    def _append(self, row: Row) -> None:
        self.rows.append(row)
        if row.g_dsc is None or row.b_dsc is None:
            return
        self.latest = Validation(step=row.step, g_dsc=row.g_dsc, b_dsc=row.b_dsc)
        self.since_best += 1
        if self.best is None or getattr(self.latest, self._select) > getattr(self.best, self._select):
            self.best, self.since_best = self.latest, 0


COLUMNS: tuple[str, ...] = tuple(field.name for field in dataclasses.fields(Row))
