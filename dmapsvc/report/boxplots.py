"""Figure 3 of the paper: how each contender's scores spread over the subjects, a panel a metric."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dmapsvc.report.comparison import Comparison, Floats
from dmapsvc.report.metrics import B_DSC, G_DSC, PANELS, Metric
from dmapsvc.report.plots import WIDTH, Theme, panel_title, plain_axes

_ROW = 0.27  # inches a contender
_MARGIN = 0.85  # inches of a panel's title and axis
_COLUMNS = 3
_GOLDEN = 0.618034
_FEWEST = 5  # subjects that make a box: of fewer, the points say all there is


def is_boxed(comparison: Comparison) -> bool:
    """Whether there are subjects enough for boxes; of fewer there are points alone."""
    return len(comparison.subjects) >= _FEWEST


def box_figure(comparison: Comparison, theme: Theme) -> Figure:
    """All panels, (a) to (f): the mean over labels."""
    panels = [(metric, None, metric.panel, metric.title) for metric in PANELS]
    return _figure(comparison, theme, panels)


def panel_figure(comparison: Comparison, metric: Metric, theme: Theme) -> Figure:
    """One panel by itself."""
    return _figure(comparison, theme, [(metric, None, metric.panel, metric.title)])


def label_figure(comparison: Comparison, theme: Theme) -> Figure:
    """G-DSC and B-DSC of each label."""
    panels = [
        (metric, place, "", f"{metric.title}, {label.name}")
        for metric in (G_DSC, B_DSC)
        for place, label in enumerate(comparison.labels)
    ]
    return _figure(comparison, theme, panels, columns=min(len(comparison.labels), _COLUMNS))


def _figure(
    comparison: Comparison,
    theme: Theme,
    panels: Sequence[tuple[Metric, int | None, str, str]],
    columns: int = _COLUMNS,
) -> Figure:
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    height = rows * (_ROW * len(comparison.contenders) + _MARGIN)
    figure = Figure(figsize=(WIDTH if columns > 1 else WIDTH / 2, height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, (metric, label, letter, title) in zip(grid.flat, panels, strict=False):
        _draw(axes, comparison, theme, metric, label)
        panel_title(axes, letter, title)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    return figure


def _draw(axes: Axes, comparison: Comparison, theme: Theme, metric: Metric, label: int | None) -> None:
    for row, contender in enumerate(comparison.contenders):
        values = contender.subject_means(metric, label) * metric.factor
        colour = theme.colour(comparison, contender)
        if is_boxed(comparison):
            _draw_box(axes, values, row, colour)
        _draw_points(axes, theme, values, row, colour)
    names = [contender.name for contender in comparison.contenders]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    unit = comparison.unit_of(metric)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 2.5, 5, 10)))  # more would touch one another
    axes.set_xlabel(f"{comparison.title_of(metric)} ({unit}) {metric.arrow}", color=theme.muted)
    plain_axes(axes)


def _draw_box(axes: Axes, values: Floats, row: int, colour: str) -> None:
    axes.boxplot(
        values,
        positions=[row],
        orientation="horizontal",
        widths=0.56,
        showfliers=False,  # every subject is drawn as a point
        patch_artist=True,
        boxprops={"facecolor": colour, "alpha": 0.25, "edgecolor": colour, "linewidth": 0},
        medianprops={"color": colour, "linewidth": 2.2, "solid_capstyle": "butt"},
        whiskerprops={"color": colour, "linewidth": 1.1},
        capprops={"linewidth": 0},
        manage_ticks=False,
    )


def _draw_points(axes: Axes, theme: Theme, values: Floats, row: int, colour: str) -> None:
    spread = ((np.arange(values.size) * _GOLDEN) % 1.0) * 0.36  # so that equal points lie apart
    axes.scatter(
        values,
        row + spread - spread.mean(),
        s=9 if values.size >= _FEWEST else 20,
        color=colour,
        edgecolors=theme.paper,
        linewidths=0.5,
        zorder=3,
    )
