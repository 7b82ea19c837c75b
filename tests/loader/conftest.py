"""Small datasets with images, published the ordinary way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.multiprocessing.reductions import shared_cache

from dmapsvc.maps import quantised_map
from dmapsvc.spec import MapSpec
from dmapsvc.store import Dataset
from tests.loader.docs_run import make_knees

torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def forget_shared_tensors() -> Iterator[None]:
    """Torch complains at exit of tensors from workers that it still remembers."""
    yield
    shared_cache.clear()


def _publish(
    dataset: Dataset,
    case: str,
    labels: NDArray[Any],
    image: NDArray[Any] | None,
    sha256: str,
    **options: Any,
) -> None:
    dataset.publish(
        case,
        label=labels,
        phi=quantised_map(labels, spec=dataset.spec, backend="scipy"),
        spacing=None,
        affine=None,
        mask_sha256=sha256,
        **options,
    )
    if image is not None:
        dataset.publish_image(case, image, spacing=None, affine=None, sha256=sha256)


def _two_bones(shape: tuple[int, int, int], seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    random = np.random.default_rng(seed)
    labels = np.zeros(shape, dtype=np.uint8)
    z, y, x = shape
    labels[: z // 3, y // 4 : y // 2, x // 4 : -2] = 5
    labels[-(z // 3) :, y // 3 :, x // 4 : -4] = 7
    labels[z // 3 : z // 3 + 2, y // 3 : y // 2, x // 4 : -4] = 3
    image = (labels * 40 + random.normal(300, 20, shape)).astype(np.int16)
    return labels, image


@pytest.fixture(scope="session")
def doc_knees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the dataset `knees.zarr` that pages of the docs talk of."""
    folder = tmp_path_factory.mktemp("docs")
    make_knees(folder)
    return folder


@pytest.fixture
def two_bones() -> Callable[..., tuple[NDArray[np.uint8], NDArray[np.int16]]]:
    """(shape, seed): boxes of labels 5 and 7, one of 3 between them, and an image that tells them apart."""
    return _two_bones


@pytest.fixture
def publish() -> Callable[..., None]:
    """(dataset, case, labels, image or None, sha256, options of Dataset.publish): publish a case."""
    return _publish


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Path]:
    """({case: (labels, image or None)}, spec, name): the folder of a dataset made of them."""

    def make(
        volumes: dict[str, tuple[NDArray[Any], NDArray[Any] | None]],
        spec: MapSpec | None = None,
        name: str = "knees",
    ) -> Path:
        path = tmp_path / f"{name}.zarr"
        dataset = Dataset.create(path, spec or MapSpec())
        for number, (case, (labels, image)) in enumerate(volumes.items()):
            _publish(dataset, case, labels, image, f"{number:064x}")
        return path

    return make


@pytest.fixture
def knees(make_dataset: Callable[..., Path]) -> Path:
    """Two cases of 40×36×44 and 24×50×30 voxels with labels 3, 5 and 7, of which 7 and 5 are classes."""
    volumes = {"a": _two_bones((40, 36, 44), 1), "b": _two_bones((24, 50, 30), 2)}
    return make_dataset(volumes, MapSpec(labels=(7, 5)))


@pytest.fixture
def threads() -> Callable[[], int]:
    """How many threads make batches now."""
    return lambda: sum(thread.name.startswith("dmapsvc-ahead") for thread in threading.enumerate())
