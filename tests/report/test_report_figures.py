"""The figures show the numbers, name their axes and give units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dmapsvc.report.boxplots import box_figure, label_figure, panel_figure
from dmapsvc.report.comparison import Comparison
from dmapsvc.report.curves import curve_figure, drawable
from dmapsvc.report.differences import family
from dmapsvc.report.folder import read_comparison
from dmapsvc.report.forest import forest_figure
from dmapsvc.report.metrics import B_DSC, G_DSC, HD95
from dmapsvc.report.plots import DARK, LIGHT, render
from tests.report.synthetic import CONTENDERS, write_comparison


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return read_comparison(write_comparison(tmp_path_factory.mktemp("runs"), runs=2, histories=True))


def points(axes: Axes) -> list[NDArray[np.float64]]:
    """The scattered points (n, 2), one array a contender."""
    return [
        np.asarray(found.get_offsets()) for found in axes.collections if isinstance(found, PathCollection)
    ]


def panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_visible()]


def test_figure_3_has_the_papers_six_panels(comparison: Comparison) -> None:
    figure = box_figure(comparison, LIGHT)
    titles = [axes.get_title(loc="left") for axes in panels(figure)]
    assert [title[:3] for title in titles] == ["(a)", "(b)", "(c)", "(d)", "(e)", "(f)"]
    assert titles[0].endswith("G-DSC")
    assert titles[5].endswith("B-DSC, 4 voxels")
    assert [axes.get_xlabel() for axes in panels(figure)][1] == "B-DSC (%) ↑"
    names = [label.get_text() for label in panels(figure)[0].get_yticklabels()]
    assert names == [contender.name for contender in comparison.contenders]


def test_every_subject_is_a_point_at_its_mean(comparison: Comparison) -> None:
    axes = panels(box_figure(comparison, LIGHT))[1]
    for row, (found, contender) in enumerate(zip(points(axes), comparison.contenders, strict=True)):
        assert found[:, 0] == pytest.approx(contender.subject_means(B_DSC) * 100)
        assert np.abs(found[:, 1] - row).max() < 0.3


def test_a_distance_has_its_unit_and_points_down(comparison: Comparison) -> None:
    axes = panels(panel_figure(comparison, HD95, LIGHT))[0]
    assert axes.get_xlabel() == "HD95 (mm) ↓"
    assert points(axes)[0][:, 0] == pytest.approx(comparison.contenders[0].subject_means(HD95))


def test_labels_have_panels_of_their_own(comparison: Comparison) -> None:
    found = panels(label_figure(comparison, LIGHT))
    assert [axes.get_title(loc="left") for axes in found][::3] == ["G-DSC, femur", "B-DSC, femur"]
    assert points(found[4])[2][:, 0] == pytest.approx(comparison.contenders[2].subject_means(B_DSC, 1) * 100)


def test_references_are_coloured_and_the_others_grey(comparison: Comparison) -> None:
    colours = [LIGHT.colour(comparison, contender) for contender in comparison.contenders]
    assert len(set(colours[:3])) == 3
    assert set(colours[3:]) == {LIGHT.muted}
    assert LIGHT.muted not in colours[:3]


def test_the_forest_has_a_row_a_pair_right_where_the_first_is_better(comparison: Comparison) -> None:
    families = [family(comparison, metric, None, "mean") for metric in (B_DSC, HD95)]
    figure = forest_figure(comparison, families, LIGHT)
    left, right = panels(figure)
    rows = [label.get_text() for label in left.get_yticklabels()]
    assert len(rows) == len(families[0].differences)
    assert rows[0].split()[0::2] == [families[0].differences[0].reference, families[0].differences[0].other]
    shifts = [found[0, 0] for found in points(left)]
    assert shifts == pytest.approx([found.test.shift * 100 for found in families[0].differences])
    assert [found[0, 0] for found in points(right)] == pytest.approx(
        [-found.test.shift for found in families[1].differences]
    )
    assert right.get_xlabel().startswith("mm")
    assert left.get_xlabel().startswith("percentage points")


@pytest.mark.parametrize(
    ("runs", "subjects", "told"),
    [
        (1, 2, {"corrected p ≥ 0.05: no difference shown"}),
        (2, 5, {"corrected p ≥ 0.05: no difference shown", "95 % interval over the choice of runs"}),
        (
            1,
            6,
            {
                "corrected p < 0.05",
                "95 % interval over subjects",
                "too small for this design to find (80 % power)",
            },
        ),
    ],
)
def test_the_legend_explains_what_is_drawn(tmp_path: Path, runs: int, subjects: int, told: set[str]) -> None:
    names = ["penalty-none", "penalty-region"]
    comparison = read_comparison(write_comparison(tmp_path, contenders=names, runs=runs, subjects=subjects))
    figure = forest_figure(comparison, [family(comparison, B_DSC, None, "mean")], LIGHT)
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} == told


@pytest.mark.parametrize(("subjects", "boxes"), [(2, 0), (4, 0), (5, 2)])
def test_few_subjects_are_points_without_a_box(tmp_path: Path, subjects: int, boxes: int) -> None:
    found = read_comparison(write_comparison(tmp_path, contenders=["a", "b"], runs=1, subjects=subjects))
    axes = panels(panel_figure(found, B_DSC, LIGHT))[0]
    assert len(axes.patches) == boxes
    assert [len(drawn) for drawn in points(axes)] == [subjects] * 2


def test_curves_have_a_panel_a_contender_and_a_line_a_run(comparison: Comparison) -> None:
    assert drawable(comparison) == ["loss", "g_dsc", "b_dsc"]
    found = panels(curve_figure(comparison, "loss", LIGHT))
    assert len(found) == len(CONTENDERS)
    assert {len(axes.lines) for axes in found} == {2}
    scores = panels(curve_figure(comparison, "b_dsc", LIGHT))
    assert {len(axes.lines) for axes in scores} == {2 * len(CONTENDERS) + 2}
    history = comparison.contenders[0].runs[0].history
    steps = history["step"][np.isfinite(history["b_dsc"])]
    drawn = scores[0].lines[-2]
    assert np.asarray(drawn.get_xdata()) == pytest.approx(steps)
    assert np.asarray(drawn.get_ydata()).max() > 1  # percent


def test_without_histories_there_are_no_curves(tmp_path: Path) -> None:
    assert drawable(read_comparison(write_comparison(tmp_path, runs=1, subjects=2))) == []


def test_a_figure_becomes_files_for_either_paper(comparison: Comparison) -> None:
    drawn = render("figure-3a", lambda theme: panel_figure(comparison, G_DSC, theme))
    assert drawn.png.startswith(b"\x89PNG")
    assert drawn.shown is not None
    assert (drawn.shown.media, drawn.shown.light) == ("image/svg+xml", drawn.svg)
    assert LIGHT.paper.encode() in drawn.shown.light
    assert DARK.paper.encode() in drawn.shown.dark
    again = render("figure-3a", lambda theme: panel_figure(comparison, G_DSC, theme), page=False)
    assert again.svg == drawn.svg
    assert again.shown is None
