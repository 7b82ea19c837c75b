"""Tiny datasets to train on, and one thread: on busy cores, threads of tiny layers wait for each other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dmapsvc.spec import MapSpec
from dmapsvc.store import Dataset
from tests.train.train_runs import publish

torch.set_num_threads(1)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Two cases, too few to keep any for validation."""
    return _boxes(tmp_path / "boxes.zarr", "ab")


@pytest.fixture
def split_dataset(tmp_path: Path) -> Dataset:
    """Six cases: three to train on, one to validate, two to test."""
    return _boxes(tmp_path / "boxes.zarr", "abcdef")


def _boxes(path: Path, cases: str) -> Dataset:
    dataset = Dataset.create(path, MapSpec(), names={4: "bright", 9: "dark"})
    for number, case in enumerate(cases):
        publish(dataset, case, number)
    return dataset
