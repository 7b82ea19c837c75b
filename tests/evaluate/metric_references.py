"""The metrics as MONAI and DeepMind's surface-distance compute them, of bool masks (z, y, x), none empty."""

from __future__ import annotations

import surface_distance
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_dice,
    compute_hausdorff_distance,
    compute_surface_dice,
)

from dmapsvc.evaluate.masks import Mask
from dmapsvc.spec import Spacing


def monai_dice(truth: Mask, prediction: Mask) -> float:
    return float(compute_dice(_tensor(prediction), _tensor(truth)))


def monai_boundary_dice(truth: Mask, prediction: Mask) -> float:
    return _monai_surface_dice(truth, prediction, (1.0, 1.0, 1.0), 0.0, subvoxels=False)


def monai_surface_dice(truth: Mask, prediction: Mask, spacing: Spacing, tolerance: float) -> float:
    return _monai_surface_dice(truth, prediction, spacing, tolerance, subvoxels=True)


def monai_hausdorff95(truth: Mask, prediction: Mask, spacing: Spacing) -> float:
    found = compute_hausdorff_distance(
        _tensor(prediction), _tensor(truth), include_background=True, percentile=95, spacing=spacing
    )
    return float(found)


def monai_surface_distance(truth: Mask, prediction: Mask, spacing: Spacing) -> float:
    found = compute_average_surface_distance(
        _tensor(prediction), _tensor(truth), include_background=True, spacing=spacing
    )
    return float(found)


def deepmind_surface_dice(truth: Mask, prediction: Mask, spacing: Spacing, tolerance: float) -> float:
    distances = surface_distance.compute_surface_distances(truth, prediction, spacing)
    return float(surface_distance.compute_surface_dice_at_tolerance(distances, tolerance))


def _monai_surface_dice(
    truth: Mask, prediction: Mask, spacing: Spacing, tolerance: float, *, subvoxels: bool
) -> float:
    found = compute_surface_dice(
        _tensor(prediction),
        _tensor(truth),
        [tolerance],
        include_background=True,
        spacing=spacing,
        use_subvoxels=subvoxels,
    )
    return float(found)


def _tensor(mask: Mask) -> torch.Tensor:
    return torch.from_numpy(mask)[None, None].float()
