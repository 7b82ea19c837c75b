"""Tiny trainings, and what is compared of two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from dmapsvc.maps import quantised_map
from dmapsvc.store import Dataset
from dmapsvc.train import Checkpoint, RunFolder, TrainSettings


def tiny(dataset: Dataset, **changes: Any) -> TrainSettings:
    """Three steps of a narrow V-Net on the CPU, in the folder `run` beside the dataset."""
    few: dict[str, Any] = {
        "location": dataset.path,
        "out": dataset.path.parent / "run",
        "patch": (16, 16, 16),
        "steps": 3,
        "width": 2,
        "rotation": 0.0,
        "threads": 1,
        "device": "cpu",
    }
    return TrainSettings(**(few | changes))


def publish(dataset: Dataset, case: str, number: int, *, with_image: bool = True) -> None:
    """A case of 24×32×32 voxels with a bright box (label 4) and a dark one (label 9) in noise."""
    labels = np.zeros((24, 32, 32), dtype=np.uint8)
    labels[4:20, 4 + number : 14, 6:26] = 4
    labels[6:18, 18:28, 6 + number : 26] = 9
    noise = np.random.default_rng(number).normal(0, 0.1, labels.shape)
    image = (np.select([labels == 4, labels == 9], [1.0, -1.0], 0.0) + noise).astype(np.float32)
    dataset.publish(
        case,
        label=labels,
        phi=quantised_map(labels, spec=dataset.spec, backend="scipy"),
        spacing=None,
        affine=None,
        mask_sha256=f"{number:064x}",
    )
    if with_image:
        dataset.publish_image(case, image, spacing=None, affine=None, sha256=f"{number:064x}")


def weights(run: RunFolder | Path) -> dict[str, torch.Tensor]:
    """Of the last checkpoint."""
    return Checkpoint.load((run if isinstance(run, RunFolder) else RunFolder(run)).last).model


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two state dicts are equal bit for bit."""
    return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return same(one, other)
    return bool(one == other)
