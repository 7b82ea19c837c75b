"""What is compared: contenders, their runs and each run's scores, as one array a contender.

The subject is the unit: `subject_means` is the mean over a subject's runs, and over its labels where no label
is asked for. Reading the files is `folder.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmapsvc.report.metrics import METRICS, NSD, Metric

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Label:
    """A label that was scored: its value and what it is called."""

    value: int
    name: str


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a contender.

    `settings` as its settings.json has them, empty without one; `history`: the columns of its history.csv,
    all of one length, NaN where a cell is empty; no column without a file.
    """

    name: str
    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    history: Mapping[str, Floats] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A way to train, run once or several times; `values`: (runs, subjects, labels, metrics as METRICS)."""

    name: str
    runs: tuple[Run, ...]
    values: Floats

    def scores(self, metric: Metric, label: int | None = None) -> Floats:
        """(runs, subjects): of the `label`-th label, or the mean over all."""
        values: Floats = self.values[..., METRICS.index(metric)]
        return values.mean(axis=2) if label is None else values[..., label]

    def subject_means(self, metric: Metric, label: int | None = None) -> Floats:
        """(subjects,): the mean over the runs."""
        return np.asarray(self.scores(metric, label).mean(axis=0))

    def run_means(self, metric: Metric, label: int | None = None) -> Floats:
        """(runs,): the mean over the subjects."""
        return np.asarray(self.scores(metric, label).mean(axis=1))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Contenders scored on the same subjects and labels, those of `references` first.

    `unit`: of distances, 'mm' or 'voxels'; `tolerance`: of NSD, in that unit. `notes`: what was left out, and
    why.
    """

    contenders: tuple[Contender, ...]
    references: tuple[str, ...]
    subjects: tuple[str, ...]
    labels: tuple[Label, ...]
    unit: str
    tolerance: float
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[tuple[int | None, str], ...]:
        """Each label's place and name, then the mean over labels, if there are several."""
        labels: list[tuple[int | None, str]] = [(i, label.name) for i, label in enumerate(self.labels)]
        return tuple(labels if len(labels) == 1 else [*labels, (None, "mean")])

    def unit_of(self, metric: Metric) -> str:
        """'%', or the unit of distances."""
        return self.unit if metric.distance else "%"

    def title_of(self, metric: Metric) -> str:
        """The metric's title, with the tolerance where it has one."""
        return f"NSD at {self.tolerance:g} {self.unit}" if metric is NSD else metric.title
