"""A tiny dataset to train on, and one thread: on busy cores, threads of tiny layers wait for each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dmapsvc.maps import quantised_map
from dmapsvc.spec import MapSpec
from dmapsvc.store import Dataset

torch.set_num_threads(1)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Two cases of 24×32×32 voxels with a bright box (label 4) and a dark one (label 9) in noise."""
    dataset = Dataset.create(tmp_path / "boxes.zarr", MapSpec(), names={4: "bright", 9: "dark"})
    for number, case in enumerate("ab"):
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
        dataset.publish_image(case, image, spacing=None, affine=None, sha256=f"{number:064x}")
    return dataset
