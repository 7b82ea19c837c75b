"""Pictures of a case: a slice of its label map beside the same slice of Φ, as in Figure 1 of the paper.

Drawn with matplotlib's objects, without pyplot's state, so that a server may call it from any thread. Voxels
are shown as they lie in the file, turned and mirrored only as a whole so that superior (or anterior) is up.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, ListedColormap, hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from dmapsvc.figures.view import AXES, View, class_values, find_view
from dmapsvc.store import Case

_DPI = 150
_PANEL = 4.2  # inches, the longer side of a panel
_LEGEND_ENTRIES = 12  # a whole-body slice has dozens of labels; the rest are counted
_BACKGROUND = (0.10, 0.10, 0.12)
# Okabe and Ito's colours, which readers with any colour vision tell apart; generated hues follow when they
# run out.
_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#F0E442", "#0072B2", "#D55E00")

Regions = NDArray[np.signedinteger[Any]]
"""A slice of region or class indices, 0 the background."""

_drawing = threading.Lock()  # matplotlib's font and glyph caches are not safe to share between threads


def case_figure(
    case: Case, *, axis: int | None = None, index: int | None = None, names: Mapping[int, str] | None = None
) -> Figure:
    """Slice `index` through `axis` (0, 1, 2: z, y, x) of a case: label map beside Φ, region boundaries in
    white.

    The default is the coarsest axis, so that the slice lies in-plane, and the slice with the most foreground.
    The label map lies over the image if there is one (its first channel). `names`: what to call the labels.

    Raises BadInput for an axis or a slice that the case has not.
    """
    view = find_view(case, axis, index)
    regions = _regions_in(case, view)
    figure = Figure(figsize=_size(regions.shape, view), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_mask(left, case, view, regions, names or {})
    _draw_phi(figure, right, case, view)
    for axes in (left, right):
        draw_boundaries(axes, regions)
        axes.set_xticks([])
        axes.set_yticks([])
    slices = case.record.shape[view.axis]
    figure.suptitle(f"{case.name}, slice {AXES[view.axis]} = {view.index} of {slices}", fontsize=11)
    return figure


def figure_png(figure: Figure) -> bytes:
    """A figure as a PNG file."""
    file = BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(file, format="png", dpi=_DPI)
    return file.getvalue()


def case_preview(
    case: Case, axis: int | None = None, index: int | None = None, names: Mapping[int, str] | None = None
) -> bytes:
    """`case_figure` as a PNG file; may be called by several threads at once."""
    with _drawing:
        return figure_png(case_figure(case, axis=axis, index=index, names=names))


def _regions_in(case: Case, view: View) -> NDArray[np.int64]:
    """The slice's regions as it lies on paper: 0 background, i the i-th class of the case."""
    values = np.array([0, *class_values(case)])
    plane = view.lay(case.read("label", view.selection)).astype(np.int64)
    found = np.minimum(np.searchsorted(values, plane), len(values) - 1)
    return np.where(values[found] == plane, found, 0)


def _size(shape: tuple[int, ...], view: View) -> tuple[float, float]:
    height, width = shape[0] * view.steps[0], shape[1] * view.steps[1]
    inches = _PANEL / max(height, width)
    return 2 * max(width * inches, 1.8) + 0.9, max(height * inches, 1.2) + 0.85


def _draw_mask(
    axes: Axes, case: Case, view: View, regions: NDArray[np.int64], names: Mapping[int, str]
) -> None:
    values = class_values(case)
    colours = class_colours(len(values))
    aspect = view.steps[0] / view.steps[1]
    if case.image is None:
        axes.imshow(np.zeros_like(regions), cmap=ListedColormap([_BACKGROUND]), aspect=aspect)
    else:
        image = _image_plane(case, view)
        low, high = np.percentile(image, (1, 99))
        axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), aspect=aspect)
    axes.imshow(
        np.ma.masked_equal(regions, 0),
        cmap=colours,
        vmin=0.5,
        vmax=len(values) + 0.5,
        alpha=1.0 if case.image is None else 0.55,
        aspect=aspect,
        interpolation="nearest",
    )
    axes.set_title("Label map", fontsize=10)
    shown = [int(rank) for rank in np.unique(regions) if rank]
    _draw_legend(axes, [(names.get(values[r - 1], f"label {values[r - 1]}"), colours(r - 1)) for r in shown])
    _draw_edges(axes, view.edges)


def _draw_phi(figure: Figure, axes: Axes, case: Case, view: View) -> None:
    unit = "voxels" if case.record.spec.units == "voxel" else "mm"
    phi = view.lay(case.phi_values(view.selection))
    largest = max((region.maximum for region in case.record.regions), default=0.0)
    shown = axes.imshow(
        phi,
        cmap=heat(),
        vmin=0,
        vmax=largest or 1.0,
        aspect=view.steps[0] / view.steps[1],
        interpolation="nearest",
    )
    axes.set_title("Penalty map Φ", fontsize=10)
    bar = figure.colorbar(shown, ax=axes, fraction=0.05, pad=0.02)
    bar.set_label(f"Φ ({unit})", fontsize=9)
    bar.ax.tick_params(labelsize=8)


def draw_boundaries(axes: Axes, regions: Regions) -> None:
    """White lines along the voxel edges where the region changes: exact, not a contour through the voxels.

    There are none around what is negative.
    """
    row, column = np.nonzero(_changes(regions[1:], regions[:-1]))
    horizontal = _segments(column - 0.5, row + 0.5, column + 0.5, row + 0.5)
    row, column = np.nonzero(_changes(regions[:, 1:], regions[:, :-1]))
    vertical = _segments(column + 0.5, row - 0.5, column + 0.5, row + 0.5)
    lines = LineCollection([*horizontal, *vertical], colors="white", linewidths=0.8)
    lines.set_capstyle("projecting")
    axes.add_collection(lines, autolim=False)


def _changes(regions: Regions, neighbours: Regions) -> NDArray[np.bool_]:
    changes: NDArray[np.bool_] = (regions != neighbours) & (regions >= 0) & (neighbours >= 0)
    return changes


def _segments(*coordinates: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Segments (n, 2, 2) from the x and y of their starts and the x and y of their ends."""
    return np.stack(coordinates, axis=-1).reshape(-1, 2, 2)


def _draw_legend(axes: Axes, entries: list[tuple[str, Any]]) -> None:
    handles = [Patch(facecolor=colour, label=name) for name, colour in entries[:_LEGEND_ENTRIES]]
    if len(entries) > _LEGEND_ENTRIES:
        handles.append(Patch(alpha=0, label=f"and {len(entries) - _LEGEND_ENTRIES} more"))
    if handles:
        axes.legend(
            handles=handles,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.01),
            ncols=min(len(handles), 4),
            fontsize=8,
            frameon=False,
            handlelength=1.0,
            columnspacing=1.2,
        )


def _draw_edges(axes: Axes, edges: str) -> None:
    places = ((0.5, 0.975, "top"), (0.5, 0.025, "bottom"), (0.025, 0.5, "center"), (0.975, 0.5, "center"))
    for letter, (x, y, vertical) in zip(edges, places, strict=False):
        axes.text(
            x,
            y,
            letter,
            transform=axes.transAxes,
            color="white",
            fontsize=8,
            ha={0.025: "left", 0.975: "right"}.get(x, "center"),
            va=vertical,
            path_effects=[withStroke(linewidth=1.5, foreground="black")],
        )


def _image_plane(case: Case, view: View) -> NDArray[Any]:
    assert case.image is not None
    first = (0,) if case.image.ndim == 4 else ()
    return view.lay(case.read("image", (*first, *view.selection)))


def class_colours(count: int) -> ListedColormap:
    """One colour a class, by its place among the case's classes, so that it is the same in every slice."""
    spare = max(0, count - len(_COLOURS))
    golden = (np.arange(spare) * 0.618034) % 1.0  # neighbours in the list get hues far apart
    hues = hsv_to_rgb(np.stack([golden, np.full(spare, 0.6), np.full(spare, 0.9)], axis=-1))
    return ListedColormap([*_COLOURS[:count], *hues.tolist()] or ["black"])


def heat() -> Colormap:
    """Inferno without its palest end, on which a white boundary would not be seen."""
    return ListedColormap(colormaps["inferno"](np.linspace(0.0, 0.85, 256)), name="heat")
