"""A picture of subjects: what a scanner would see, and the bones outlined on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.knees.anatomy import NAMES
from dmapsvc.volumes import read_image, read_labels

_COLOURS = ("#e4572e", "#17bebb", "#ffc914")
_WHITE = 99.5  # percentile of brightness


def draw_subjects(folder: Path, names: Sequence[str], path: Path) -> None:
    """Write a PNG to `path`: each subject in a column, plain and outlined, in the plane of its patella.

    `folder` is what `subjects.write` filled. Raises what reading its files raises.
    """
    figure = Figure(figsize=(2.2 * len(names), 4.4), layout="constrained")
    plain, outlined = figure.subplots(2, len(names), squeeze=False)
    for column, name in enumerate(names):
        labels = read_labels(folder / "masks" / f"{name}.nii.gz").array
        image = read_image(folder / "images" / f"{name}.nii.gz").array
        plane = int(np.median(np.nonzero(labels == max(NAMES))[0]))
        for row in (plain, outlined):
            _show(row[column], image[plane])
        _outline(outlined[column], labels[plane])
        plain[column].set_title(name, fontsize=9)
    figure.savefig(path, dpi=110)


def _show(axes: Axes, plane: NDArray[np.int16]) -> None:
    axes.imshow(plane, cmap="gray", vmin=0, vmax=float(np.percentile(plane, _WHITE)))
    axes.set_axis_off()


def _outline(axes: Axes, plane: NDArray[np.uint8]) -> None:
    for label, colour in zip(NAMES, _COLOURS, strict=True):
        if (plane == label).any():
            axes.contour(plane == label, [0.5], colors=colour, linewidths=0.8)
