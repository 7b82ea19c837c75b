"""A picture of a batch of the loader: each patch as it lies in its volume, and as augmentation turned it.

Takes plain arrays; drawing patches is the loader's affair, which needs torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from dmapsvc.figures.draw import class_colours, draw_boundaries, heat

_PANEL = 1.8  # inches, the longer side of a panel
_TITLE = 0.28  # inches above each row
_GAP = 0.12  # between the two halves, of a panel's width
_PADDING = "#8a8f98"
_HEADINGS = ("image", "image and labels", "Φ")


@dataclass(frozen=True, kw_only=True)
class PatchArrays:
    """A patch: `image`, `label` and `phi`, all (z, y, x); `label` is negative where there is padding."""

    image: NDArray[np.floating[Any]]
    label: NDArray[np.signedinteger[Any]]
    phi: NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class TurnedPatch:
    """One patch twice: `plain`, titled `title`, and `turned` about its middle, titled `turn`.

    `axis`: the one of (z, y, x) across which it is cut, 0, 1 or 2, and about which it is turned. `spacing`:
    (z, y, x), of which the ratio of the other two is seen.
    """

    title: str
    turn: str
    plain: PatchArrays
    turned: PatchArrays
    axis: int
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @property
    def halves(self) -> tuple[tuple[str, PatchArrays], ...]:
        """Title and arrays, left and right."""
        return (self.title, self.plain), (self.turn, self.turned)

    @property
    def aspect(self) -> float:
        """How high a voxel is drawn, for its width."""
        rows, columns = (length for axis, length in enumerate(self.spacing) if axis != self.axis)
        return rows / columns

    def cut(self, volume: NDArray[Any]) -> NDArray[Any]:
        """The slice that is shown of an array: the one of the plain patch with the most foreground."""
        others = tuple(axis for axis in range(3) if axis != self.axis)
        plane: NDArray[Any] = volume.take(np.argmax((self.plain.label > 0).sum(axis=others)), self.axis)
        return plane


def batch_figure(patches: Sequence[TurnedPatch], *, title: str, phi: str) -> Figure:
    """A row a patch: image, the same under its labels, and Φ; left as it lies, right turned.

    Rows and columns are the array's own, as a network sees them. Grey values are the same in both halves of a
    row, colours of Φ in the whole figure; `phi` says what they mean. Padding is plain grey.
    """
    heights = [_inches(patch) for patch in patches]
    size = 6 * _PANEL + 1.2, sum(heights) + _TITLE * len(patches) + 0.45
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(title, fontsize=11)
    grid = figure.add_gridspec(
        len(patches), 7, width_ratios=[1, 1, 1, _GAP, 1, 1, 1], height_ratios=[h + _TITLE for h in heights]
    )
    top = max(float(arrays.phi.max()) for patch in patches for _, arrays in patch.halves) or 1.0
    low = min(float(arrays.phi.min()) for patch in patches for _, arrays in patch.halves)
    for row, patch in enumerate(patches):
        for half, (name, arrays) in enumerate(patch.halves):
            panels = [figure.add_subplot(grid[row, 4 * half + column]) for column in range(3)]
            shown = _draw(panels, patch, arrays, (low, top))
            panels[0].set_title(name, fontsize=8.5, loc="left")
            if row == len(patches) - 1:
                for axes, heading in zip(panels, _HEADINGS, strict=True):
                    axes.set_xlabel(heading, fontsize=8.5)
    bar = figure.colorbar(shown, ax=figure.axes, fraction=0.02, pad=0.012, aspect=30)
    bar.set_label(phi, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    return figure


def _draw(
    panels: Sequence[Axes], patch: TurnedPatch, arrays: PatchArrays, limits: tuple[float, float]
) -> AxesImage:
    """One half of a row; what is drawn in the last panel, Φ, is returned."""
    label = patch.cut(arrays.label)
    darkest, brightest = np.percentile(patch.plain.image, (0.5, 99.5))
    look: dict[str, Any] = {"aspect": patch.aspect, "interpolation": "nearest"}
    for axes in panels[:2]:
        axes.imshow(patch.cut(arrays.image), cmap="gray", vmin=darkest, vmax=brightest + 1e-6, **look)
    classes = max(int(half.label.max()) for _, half in patch.halves)
    tint = np.ma.masked_where(label <= 0, label)
    panels[1].imshow(tint, cmap=class_colours(classes), vmin=0.5, vmax=classes + 0.5, alpha=0.35, **look)
    phi = np.ma.masked_where(label < 0, patch.cut(arrays.phi))
    shown = panels[2].imshow(phi, cmap=heat(), vmin=limits[0], vmax=limits[1], **look)
    for axes in panels[1:]:
        axes.imshow(np.ma.masked_where(label >= 0, label), cmap=ListedColormap([_PADDING]), **look)
        draw_boundaries(axes, label)
    for axes in panels:
        axes.set_xticks([])
        axes.set_yticks([])
    return shown


def _inches(patch: TurnedPatch) -> float:
    """How high the panels of a patch are."""
    height, width = patch.cut(patch.plain.label).shape
    return _PANEL * min(1.0, float(height * patch.aspect / width))
