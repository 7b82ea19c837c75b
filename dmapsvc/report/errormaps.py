"""Figure 2 of the paper: the truth's surface, coloured by how far each contender's prediction lies from it.

One subject is shown, the one in the middle of the ranking, and of each contender the run in its middle, so
that the picture is neither the best nor the worst.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.spatial import KDTree

from dmapsvc.errors import BadInput
from dmapsvc.evaluate.boundaries import boundary
from dmapsvc.evaluate.distances import surface_errors
from dmapsvc.evaluate.labelmaps import LabelMaps, open_label_maps
from dmapsvc.report.comparison import Comparison, Contender, Floats, Run
from dmapsvc.report.metrics import B_DSC
from dmapsvc.report.plots import WIDTH, Theme
from dmapsvc.report.surfaces import Look, Surface, sides
from dmapsvc.runfiles import PREDICTIONS
from dmapsvc.spec import Spacing
from dmapsvc.volumes import Volume, check_same_grid

_NEAREST = 4  # boundary voxels whose errors a point of the surface takes the mean of
_LINE = 2  # contenders side by side
_PANEL = 1.62  # inches, the width of a view
_TITLE = 0.42  # inches above a line
_BAR = 0.7  # inches of the scale below all
_HIGHEST = 98  # percentile of all errors at which the colours end
# From bone to dark: each darker than the one before, whatever one's colour vision.
_COLOURS = ("#f4efe4", "#f3cf8a", "#E69F00", "#D55E00", "#8c2d19", "#3d0f14")


@dataclass(frozen=True, kw_only=True)
class ErrorMap:
    """One contender's errors: `colours`, one at each point of each look; `mean` over the truth's surface."""

    contender: str
    run: str
    colours: tuple[Floats, ...]
    mean: float


@dataclass(frozen=True, kw_only=True)
class ErrorMaps:
    """The errors of several contenders in one subject, all on the same looks; distances in `unit`."""

    subject: str
    unit: str
    looks: tuple[Look, ...]
    maps: tuple[ErrorMap, ...]

    @property
    def highest(self) -> float:
        """The error at which the colours end."""
        errors = np.concatenate([colours for found in self.maps for colours in found.colours])
        return float(max(np.percentile(errors, _HIGHEST), 1e-3))


def error_maps(comparison: Comparison, truth: str | Path) -> ErrorMaps | None:
    """The maps of a subject that `truth` (a dataset, its URL or a folder of label files) and all contenders
    that have predictions hold; None if there are no predictions.

    Raises BadInput if no subject with one of the labels is in all of them, GridMismatch, and what reading
    label maps raises.
    """
    found = {c.name: predictions for c in comparison.contenders if (predictions := _predictions(c))}
    if not found:
        return None
    truths = open_label_maps(truth)
    values = tuple(label.value for label in comparison.labels)
    subject, volume = _middle_subject(comparison, truths, found, values)
    lengths = volume.header.spacing or (1.0, 1.0, 1.0)
    surface = Surface(volume.array, values, lengths)
    looks = tuple(surface.look(side) for side in sides(volume.header.affine))
    places = _Places(volume, values, lengths if comparison.unit == "mm" else (1.0, 1.0, 1.0), looks)
    maps = []
    for contender in comparison.contenders:
        if contender.name in found:
            run = _middle_run(comparison, contender, subject, found[contender.name])
            maps.append(places.map(contender.name, run, found[contender.name][run.name], subject))
    return ErrorMaps(subject=subject, unit=comparison.unit, looks=looks, maps=tuple(maps))


def error_figure(comparison: Comparison, maps: ErrorMaps, theme: Theme) -> Figure:
    """Two contenders a line, each seen from all sides, on one scale of colours."""
    lines, views = -(-len(maps.maps) // _LINE), len(maps.looks)
    widths = [found.seen.shape[1] for found in maps.looks]
    height = _PANEL * maps.looks[0].seen.shape[0] / (sum(widths) / views)
    heights = [height + _TITLE] * lines + [_BAR]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    grid = figure.add_gridspec(lines + 1, _LINE, height_ratios=heights)
    scale = Normalize(0, maps.highest)
    colours = LinearSegmentedColormap.from_list("error", _COLOURS)
    for place, found in enumerate(maps.maps):
        cell = figure.add_subfigure(grid[place // _LINE, place % _LINE], facecolor="none")
        panels = cell.subplots(1, views, width_ratios=widths, squeeze=False)[0]
        for axes, seen, values in zip(panels, maps.looks, found.colours, strict=True):
            _draw(axes, seen, colours(scale(values)))
        chosen = next(c for c in comparison.contenders if c.name == found.contender)
        cell.suptitle(
            f"{found.contender}   mean {found.mean:.2f} {maps.unit}, truth → prediction",
            x=0.02,
            ha="left",
            fontsize=10,
            fontweight="bold",
            color=theme.colour(comparison, chosen) if chosen.name in comparison.references else theme.ink,
        )
    bar = figure.add_subfigure(grid[-1, :], facecolor="none").add_axes((0.25, 0.68, 0.5, 0.2))
    figure.colorbar(ScalarMappable(scale, colours), cax=bar, orientation="horizontal", extend="max")
    bar.set_xlabel(f"truth → prediction: distance from the truth's surface to the prediction's ({maps.unit})")
    bar.spines[:].set_visible(False)
    return figure


class _Places:
    """The truth's boundary voxels, and which of them each point of each look is coloured by."""

    def __init__(
        self, volume: Volume, values: Sequence[int], spacing: Spacing, looks: Sequence[Look]
    ) -> None:
        self._volume, self._spacing = volume, spacing
        self._masks = [(value, volume.array == value) for value in values if (volume.array == value).any()]
        sides = np.array(spacing)
        voxels = np.concatenate([np.argwhere(boundary(mask)) for _, mask in self._masks])
        tree = KDTree(voxels * sides)
        count = min(_NEAREST, len(voxels))
        self._nearest = [
            np.asarray(tree.query(found.points * sides, k=count)[1]).reshape(-1, count) for found in looks
        ]

    def map(self, contender: str, run: Run, predictions: LabelMaps, subject: str) -> ErrorMap:
        """The map of one run's prediction of `subject`."""
        predicted = predictions.read(subject)
        check_same_grid(
            self._volume.header,
            predicted.header,
            mask_name=f"the truth of {subject}",
            image_name=predictions.shown(subject),
        )
        errors = np.concatenate(
            [surface_errors(mask, predicted.array == value, self._spacing) for value, mask in self._masks]
        )
        return ErrorMap(
            contender=contender,
            run=run.name,
            colours=tuple(errors[nearest].mean(axis=1) for nearest in self._nearest),
            mean=float(errors.mean()),
        )


def _predictions(contender: Contender) -> dict[str, LabelMaps]:
    """The predictions of each run that has some."""
    found = {}
    for run in contender.runs:
        folder = run.folder / PREDICTIONS
        if any(path.suffix != ".json" for path in folder.glob("[!.]*")):  # a manifest stays when they go
            found[run.name] = open_label_maps(folder)
    return found


def _middle_subject(
    comparison: Comparison,
    truths: LabelMaps,
    found: dict[str, dict[str, LabelMaps]],
    values: Sequence[int],
) -> tuple[str, Volume]:
    """The subject with the median B-DSC, of those that can be drawn, and its truth.

    One without a voxel of `values` has no surface, and the one beside it takes its place.
    """
    there = set(truths.cases())
    for runs in found.values():
        there &= {case for predictions in runs.values() for case in predictions.cases()}
    means = np.mean([contender.subject_means(B_DSC) for contender in comparison.contenders], axis=0)
    order: list[int] = np.argsort(means, kind="stable").tolist()
    drawable = [subject for subject in map(comparison.subjects.__getitem__, order) if subject in there]
    middle = len(drawable) // 2
    for place in sorted(range(len(drawable)), key=lambda place: abs(place - middle)):
        volume = truths.read(drawable[place])
        if np.isin(volume.array, values).any():
            return drawable[place], volume
    raise BadInput(
        "no subject has a truth that is not empty, and a prediction of every contender",
        "surface error maps compare with the truth",
        "Give the dataset that was evaluated with --truth",
    )


def _middle_run(
    comparison: Comparison, contender: Contender, subject: str, found: dict[str, LabelMaps]
) -> Run:
    """The contender's run with the median B-DSC in `subject`, of those with a prediction."""
    scores = contender.scores(B_DSC)[:, comparison.subjects.index(subject)]
    order: list[int] = np.argsort(scores, kind="stable").tolist()
    runs = map(contender.runs.__getitem__, order)
    drawable = [run for run in runs if run.name in found and subject in found[run.name].cases()]
    return drawable[len(drawable) // 2]


def _draw(axes: Axes, seen: Look, colours: NDArray[np.float64]) -> None:
    picture = np.zeros((*seen.seen.shape, 4))
    picture[seen.seen] = colours
    picture[..., :3] *= seen.shade[..., None]
    axes.imshow(picture, interpolation="antialiased")
    axes.set_xlabel(seen.name, fontsize=8)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
