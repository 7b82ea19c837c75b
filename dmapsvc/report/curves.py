"""Learning curves: loss and validation scores of each contender's runs by step, a panel a contender."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dmapsvc.report.comparison import Comparison, Contender, Floats
from dmapsvc.report.plots import WIDTH, Theme, panel_title, plain_axes

CURVES = {
    "loss": "training loss",
    "g_dsc": "validation G-DSC (%)",
    "b_dsc": "validation B-DSC (%)",
}
"""Columns of a history and what its axis is called."""

_COLUMNS = 4
_PANEL = 1.75  # inches


def drawable(comparison: Comparison) -> list[str]:
    """The columns of CURVES of which some run has a number."""
    runs = [run for contender in comparison.contenders for run in contender.runs]
    return [name for name in CURVES if any(_points(run.history, name)[0].size for run in runs)]


def curve_figure(comparison: Comparison, column: str, theme: Theme) -> Figure:
    """A panel for each contender that has a history: its runs in colour; of scores, all others' behind.

    Losses of different contenders are different quantities: each panel has its own axis.
    """
    shown = [c for c in comparison.contenders if any(_points(run.history, column)[0].size for run in c.runs)]
    columns = min(_COLUMNS, len(shown))
    rows, comparable = -(-len(shown) // columns), column != "loss"
    figure = Figure(figsize=(WIDTH, rows * _PANEL + 0.5), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=comparable)
    for axes, contender in zip(grid.flat, shown, strict=False):
        for other in shown if comparable else ():
            _draw(axes, other, column, theme.hair, 0.8, 1)
        _draw(axes, contender, column, theme.colour(comparison, contender), 1.3, 3)
        panel_title(axes, "", contender.name)
        plain_axes(axes, "both")
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    figure.supxlabel("step", fontsize=9)
    figure.supylabel(CURVES[column], fontsize=9)
    return figure


def _draw(axes: Axes, contender: Contender, column: str, colour: str, width: float, order: int) -> None:
    factor = 1 if column == "loss" else 100
    for run in contender.runs:
        steps, values = _points(run.history, column)
        axes.plot(steps, values * factor, color=colour, linewidth=width, zorder=order)


def _points(history: Mapping[str, Floats], column: str) -> tuple[Floats, Floats]:
    """Steps and values where there is a value."""
    if "step" not in history or column not in history:
        return np.empty(0), np.empty(0)
    there = np.isfinite(history[column])
    return history["step"][there], history[column][there]
