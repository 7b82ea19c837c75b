"""The differences as a figure: each pair's estimate and interval, over what the design cannot resolve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dmapsvc.report.comparison import Comparison
from dmapsvc.report.differences import Difference, Family
from dmapsvc.report.metrics import MINUS
from dmapsvc.report.plots import WIDTH, Theme, panel_title, plain_axes

_ROW = 0.27  # inches a pair
_MARGIN = 1.4
_GAP = 0.7  # rows between two references


@dataclass(frozen=True, kw_only=True)
class Marks:
    """Which marks there are to draw, and so to explain: few subjects have no interval, one run no error.

    `shown`, `not_shown`: points of differences that are significant and that are not; `runs`: the thin lines;
    `detectable`: the grey bars.
    """

    shown: bool
    not_shown: bool
    interval: bool
    runs: bool
    detectable: bool

    @classmethod
    def of(cls, families: Sequence[Family]) -> Marks:
        """Those of all panels together."""
        found = [difference for family in families for difference in family.differences]
        return cls(
            shown=any(one.significant for one in found),
            not_shown=not all(one.significant for one in found),
            interval=any(one.test.interval is not None for one in found),
            runs=any(one.runs_error is not None for one in found),
            detectable=any(one.detectable is not None for one in found),
        )


def forest_figure(comparison: Comparison, families: list[Family], theme: Theme) -> Figure:
    """A panel a family, side by side, a row a pair; right of 0 the reference is better."""
    rows = _rows(families[0])
    figure = Figure(figsize=(WIDTH, _ROW * (rows[-1] + 1) + _MARGIN), layout="constrained")
    panels = figure.subplots(1, len(families), sharey=True, squeeze=False).flat
    for axes, family in zip(panels, families, strict=True):
        for row, difference in zip(rows, family.differences, strict=True):
            _draw(axes, comparison, theme, family, difference, row)
        _name(axes, comparison, theme, family, rows)
    figure.legend(
        handles=_legend(theme, Marks.of(families)), loc="outside lower center", ncols=3, fontsize=8.5
    )
    return figure


def _rows(family: Family) -> list[float]:
    """Where each pair is drawn: a little apart where another reference begins."""
    references = [difference.reference for difference in family.differences]
    return [place + _GAP * len(set(references[: place + 1])) - _GAP for place in range(len(references))]


def _draw(
    axes: Axes, comparison: Comparison, theme: Theme, family: Family, difference: Difference, row: float
) -> None:
    place = comparison.references.index(difference.reference)
    colour, sign = theme.strong[place % len(theme.strong)], family.metric.better(family.metric.factor)
    if difference.detectable is not None:
        reach = difference.detectable * family.metric.factor
        axes.barh(row, 2 * reach, left=-reach, height=0.62, color=theme.hair, zorder=1)
    if (interval := difference.test.interval) is not None:
        ends = [interval.low * sign, interval.high * sign]
        axes.plot(ends, [row, row], color=colour, linewidth=3, solid_capstyle="butt", zorder=3)
    if difference.runs_error is not None:
        middle, reach = difference.test.mean * sign, difference.runs_error.reach * family.metric.factor
        axes.plot([middle - reach, middle + reach], [row, row], color=colour, linewidth=0.9, zorder=2)
    face = colour if difference.significant else theme.paper
    axes.scatter(
        difference.test.shift * sign, row, s=26, color=face, edgecolors=colour, linewidths=1.5, zorder=4
    )


def _name(axes: Axes, comparison: Comparison, theme: Theme, family: Family, rows: list[float]) -> None:
    names = [f"{difference.reference} {MINUS} {difference.other}" for difference in family.differences]
    axes.set_yticks(rows, names)
    axes.set_ylim(rows[-1] + 0.6, -0.6)
    axes.axvline(0, color=theme.muted, linewidth=1, zorder=2)
    unit = comparison.unit if family.metric.distance else "percentage points"
    axes.set_xlabel(f"{unit}, to the right: the first is better", color=theme.muted)
    panel_title(axes, "", f"Difference in {comparison.title_of(family.metric)}")
    plain_axes(axes)


def _legend(theme: Theme, marks: Marks) -> list[Line2D | Patch]:
    def point(face: str, text: str) -> Line2D:
        return Line2D(
            [], [], marker="o", color="none", markeredgecolor=theme.ink, markerfacecolor=face, label=text
        )

    def line(width: float, text: str) -> Line2D:
        return Line2D([], [], color=theme.ink, linewidth=width, label=text)

    everything: list[tuple[bool, Line2D | Patch]] = [
        (marks.shown, point(theme.ink, "corrected p < 0.05")),
        (marks.not_shown, point(theme.paper, "corrected p ≥ 0.05: no difference shown")),
        (marks.interval, line(3, "95 % interval over subjects")),
        (marks.runs, line(0.9, "95 % interval over the choice of runs")),
        (marks.detectable, Patch(color=theme.hair, label="too small for this design to find (80 % power)")),
    ]
    return [mark for drawn, mark in everything if drawn]
