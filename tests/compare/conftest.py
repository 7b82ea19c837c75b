"""A tiny dataset to compare on, and one thread: on busy cores, threads of tiny layers wait for each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dmapsvc.maps import quantised_map
from dmapsvc.spec import MapSpec
from dmapsvc.store import Dataset

torch.set_num_threads(1)

CASES = "abcdef"


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Six cases of 16³ voxels with a bright box (label 4) and a dark one (label 9) in noise."""
    dataset = Dataset.create(
        tmp_path_factory.mktemp("data") / "boxes.zarr", MapSpec(), names={4: "bright", 9: "dark"}
    )
    for number, case in enumerate(CASES):
        labels = np.zeros((16, 16, 16), dtype=np.uint8)
        labels[2:14, 2:7, 2 : 12 + number // 2] = 4
        labels[4:12, 9:14, 3 + number // 2 : 13] = 9
        noise = np.random.default_rng(number).normal(0, 0.1, labels.shape)
        image = (np.select([labels == 4, labels == 9], [1.0, -1.0], 0.0) + noise).astype(np.float32)
        dataset.publish(
            case,
            label=labels,
            phi=quantised_map(labels, spec=dataset.spec, backend="scipy"),
            spacing=(1.0, 1.0, 1.0),
            affine=None,
            mask_sha256=f"{number:064x}",
        )
        dataset.publish_image(case, image, spacing=(1.0, 1.0, 1.0), affine=None, sha256=f"{number:064x}")
    return dataset


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are done in this process, one after the other, and not each in a new one."""
    from tests.compare.in_process import InProcess

    monkeypatch.setattr("dmapsvc.compare.comparison.Processes", InProcess)


@pytest.fixture
def unreported(monkeypatch: pytest.MonkeyPatch) -> None:
    """No report is drawn: that is tested where it is made, and once in here."""
    monkeypatch.setattr("dmapsvc.compare.comparison.report", lambda place, _: place.out / "report")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The comparison's folder."""
    return tmp_path / "comparison"
