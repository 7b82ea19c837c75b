"""One small label map in an oblique frame, in every format, and how to write others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.volumes.samples import Sample, make_sample, write_all, write_segmentation


@pytest.fixture(scope="session")
def sample() -> Sample:
    return make_sample()


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory, sample: Sample) -> dict[str, Path]:
    """The sample in every format, by file name."""
    return write_all(tmp_path_factory.mktemp("written"), sample)


@pytest.fixture(scope="session")
def write_dicomseg() -> Callable[..., None]:
    """`write_segmentation`: (path, sample, kind=, masks=)."""
    return write_segmentation
