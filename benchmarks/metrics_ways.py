"""The ways to measure a prediction that `benchmarks.metrics` lets take turns, each as its library means it.

Each `prepare` loads a task in the process of the way, and returns what is measured: all its metrics of all
classes, by name.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dmapsvc.evaluate.boundaries import boundary_dice
from dmapsvc.evaluate.distances import hausdorff95, surface_distance
from dmapsvc.evaluate.measures import class_measures
from dmapsvc.evaluate.overlap import dice
from dmapsvc.evaluate.surfaces import surface_dice
from dmapsvc.spec import Spacing

if TYPE_CHECKING:
    import torch

Mask = NDArray[np.bool_]
Values = list[dict[str, float]]
"""By class: metrics by their name in `Measures`."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Two label maps in a .npz file, `truth` and `prediction`; spacing and tolerance in mm."""

    file: Path
    classes: tuple[int, ...]
    spacing: Spacing
    tolerance: float

    def pairs(self) -> Iterator[tuple[Mask, Mask]]:
        """The two masks of each class."""
        truth, prediction = self.arrays()
        return ((truth == label, prediction == label) for label in self.classes)

    def arrays(self) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
        """Both label maps."""
        with np.load(self.file) as arrays:
            return arrays["truth"], arrays["prediction"]


def together(task: Task) -> Callable[[], Values]:
    """`class_measures`: all metrics, from intermediate results that they share."""
    truth, prediction = task.arrays()

    def measured() -> Values:
        found = class_measures(
            truth, prediction, task.classes, spacing=task.spacing, tolerance=task.tolerance
        )
        return [asdict(measures) for measures in found.values()]

    return measured


def one_by_one(task: Task) -> Callable[[], Values]:
    """The functions of the single metrics, one after the other."""
    pairs = list(task.pairs())

    def measured() -> Values:
        return [
            {
                "g_dsc": dice(*pair),
                "b_dsc": boundary_dice(*pair),
                **{f"b_dsc_{reach}": boundary_dice(*pair, reach) for reach in range(1, 5)},
                "nsd": surface_dice(*pair, spacing=task.spacing, tolerance=task.tolerance),
                "hd95": hausdorff95(*pair, task.spacing),
                "asd": surface_distance(*pair, task.spacing),
            }
            for pair in pairs
        ]

    return measured


def quick(task: Task) -> Callable[[], Values]:
    """The two overlaps that a validation during training takes."""
    pairs = list(task.pairs())
    return lambda: [{"g_dsc": dice(*pair), "b_dsc": boundary_dice(*pair)} for pair in pairs]


def monai(task: Task) -> Callable[[], Values]:
    """MONAI's functions for the same, as far as it has them: not the relaxed B-DSC."""
    from monai.metrics import (
        compute_average_surface_distance,
        compute_dice,
        compute_hausdorff_distance,
        compute_surface_dice,
    )

    truth, prediction = _tensors(task)
    spacing, count = task.spacing, len(task.classes)

    def measured() -> Values:
        pair = (prediction, truth)
        nsd = compute_surface_dice(
            *pair, [task.tolerance] * count, include_background=True, spacing=spacing, use_subvoxels=True
        )
        found = {
            "g_dsc": compute_dice(*pair),
            "b_dsc": compute_surface_dice(*pair, [0.0] * count, include_background=True),
            "nsd": nsd,
            "hd95": compute_hausdorff_distance(
                *pair, include_background=True, percentile=95, spacing=spacing
            ),
            "asd": compute_average_surface_distance(*pair, include_background=True, spacing=spacing),
        }
        return [{name: float(values[0, index]) for name, values in found.items()} for index in range(count)]

    return measured


def quick_monai(task: Task) -> Callable[[], Values]:
    """MONAI's Dice, and its surface Dice of voxels at tolerance 0."""
    from monai.metrics import compute_dice, compute_surface_dice

    truth, prediction = _tensors(task)
    count = len(task.classes)

    def measured() -> Values:
        whole = compute_dice(prediction, truth)
        boundaries = compute_surface_dice(prediction, truth, [0.0] * count, include_background=True)
        return [
            {"g_dsc": float(whole[0, index]), "b_dsc": float(boundaries[0, index])} for index in range(count)
        ]

    return measured


def deepmind(task: Task) -> Callable[[], Values]:
    """DeepMind's surface-distance: Dice and surface Dice. Its Hausdorff distance is defined otherwise."""
    import surface_distance as published

    pairs = list(task.pairs())

    def measured() -> Values:
        found = []
        for truth, prediction in pairs:
            distances = published.compute_surface_distances(truth, prediction, task.spacing)
            nsd = published.compute_surface_dice_at_tolerance(distances, task.tolerance)
            whole = published.compute_dice_coefficient(truth, prediction)
            found.append({"g_dsc": float(whole), "nsd": float(nsd)})
        return found

    return measured


def _tensors(task: Task) -> tuple[torch.Tensor, torch.Tensor]:
    """The masks of truth and prediction as MONAI takes them: (1, classes, z, y, x), float32."""
    import torch

    warnings.filterwarnings("ignore", category=FutureWarning, module="monai")  # it calls itself so
    truth, prediction = zip(*task.pairs(), strict=True)
    first, second = (torch.from_numpy(np.stack(masks))[None].float() for masks in (truth, prediction))
    return first, second
