"""From a comparison folder to a report: what is read, tested, drawn and written, in that order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from dmapsvc.report import boxplots, curves, errormaps, forest, tables
from dmapsvc.report.comparison import Comparison
from dmapsvc.report.differences import Family, family
from dmapsvc.report.errormaps import ErrorMaps
from dmapsvc.report.findings import findings, limits
from dmapsvc.report.folder import read_comparison
from dmapsvc.report.metrics import B_DSC, G_DSC, METRICS, PANELS
from dmapsvc.report.page import Contents, page
from dmapsvc.report.plots import Draw, Drawn, render
from dmapsvc.report.reportfolder import LEARNING, PAGE, check_folder, write_folder

_FIRST = (B_DSC, G_DSC)  # what the paper is about, by label too

Progress = Callable[[str, int, int], None]
"""Called with what is drawn next, how many figures are done and of how many."""


def write_report(
    folder: Path,
    out: Path,
    *,
    references: Sequence[str] = (),
    truth: str | Path | None = None,
    on_figure: Progress = lambda name, done, total: None,
) -> Path:
    """Write the report of the comparison in `folder` into `out`; returns its page.

    `references`: the contenders that all others are compared with, as `read_comparison` takes them. `truth`:
    a dataset, its URL or a folder of label files, for surface error maps; they need predictions beside the
    scores. What an earlier report left in `out` is replaced.

    Raises, before anything is drawn, Conflict if `out` holds anything but a report, BadInput if it cannot be
    written, and what `read_comparison` and `error_maps` raise.
    """
    check_folder(out)
    comparison = read_comparison(folder, references)
    maps = None if truth is None else errormaps.error_maps(comparison, truth)
    families = _families(comparison)
    main = [found for found in families if found.label is None and found.metric in _FIRST]
    figures = _draw(_plan(comparison, main, maps), on_figure)
    contents = Contents(
        comparison=comparison,
        families=[found for found in families if found.label is None or found.metric in _FIRST],
        drawn=main,
        figures=figures,
        error_maps=maps,
        curves=curves.drawable(comparison),
        findings=findings(comparison, main),
        limits=[
            *limits(comparison, main[0]),
            *(
                ["No run has predictions, so there are no surface error maps."]
                if truth is not None and maps is None
                else []
            ),
        ],
    )
    rows = {
        "means": tables.mean_rows(comparison),
        "subjects": tables.subject_rows(comparison),
        "differences": tables.difference_rows(comparison, families),
    }
    write_folder(out, page(contents), figures, rows)
    return out / PAGE


def _families(comparison: Comparison) -> list[Family]:
    """All tests: B-DSC and G-DSC first, of each metric the mean over labels first."""
    labels = comparison.labels
    rows: list[tuple[int | None, str]] = [(None, "mean over labels" if len(labels) > 1 else labels[0].name)]
    if len(labels) > 1:
        rows += [(place, label.name) for place, label in enumerate(labels)]
    metrics = [*_FIRST, *(metric for metric in METRICS if metric not in _FIRST)]
    return [family(comparison, metric, label, row) for metric in metrics for label, row in rows]


def _plan(
    comparison: Comparison, compared: list[Family], maps: ErrorMaps | None
) -> Mapping[str, tuple[Draw, bool, bool]]:
    """Each figure's name, how it is drawn, whether as pixels, and whether the page shows it."""
    plan: dict[str, tuple[Draw, bool, bool]] = {}
    if len(comparison.contenders) > 1:
        plan["differences"] = partial(forest.forest_figure, comparison, compared), False, True
    plan["figure-3"] = partial(boxplots.box_figure, comparison), False, True
    for metric in PANELS:
        plan[f"figure-3{metric.panel}"] = partial(boxplots.panel_figure, comparison, metric), False, False
    if len(comparison.labels) > 1:
        plan["figure-3-labels"] = partial(boxplots.label_figure, comparison), False, True
    if maps is not None:
        plan["figure-2"] = partial(errormaps.error_figure, comparison, maps), True, True
    for column in curves.drawable(comparison):
        draw = partial(curves.curve_figure, comparison, column)
        plan[LEARNING[column]] = draw, False, True
    return plan


def _draw(plan: Mapping[str, tuple[Draw, bool, bool]], on_figure: Progress) -> dict[str, Drawn]:
    figures = {}
    for done, (name, (draw, raster, shown)) in enumerate(plan.items()):
        on_figure(name, done, len(plan))
        figures[name] = render(name, draw, raster=raster, page=shown)
    return figures
