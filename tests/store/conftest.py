"""Small cases with maps by SciPy, published the ordinary way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from dmapsvc.quantised import QuantisedMap, quantise
from dmapsvc.region import Region
from dmapsvc.spec import MapSpec, quantisation
from dmapsvc.store import CaseRecord, Dataset, WritableDataset

SPACING = (0.7, 0.4, 0.4)
AFFINE = np.diag([-0.4, -0.4, 0.7, 1.0])


@dataclass(frozen=True, kw_only=True)
class Maps:
    """A label map, its Φ in voxels, and its regions: the background, 5 and 7."""

    label: NDArray[np.uint8]
    phi: NDArray[np.float32]
    regions: tuple[Region, ...]

    def quantised(self, spec: MapSpec, absent: tuple[int, ...] = ()) -> QuantisedMap:
        step = quantisation(max(region.maximum for region in self.regions), (1.0, 1.0, 1.0))
        return QuantisedMap(
            values=quantise(self.phi, step),
            quantisation=step,
            regions=self.regions,
            absent=absent,
            spec=spec,
            backend="scipy",
        )

    def publish(
        self, dataset: WritableDataset, case: str, sha256: str, absent: tuple[int, ...] = (), **how: Any
    ) -> CaseRecord:
        """Publish as a mask whose file has `sha256`."""
        return dataset.publish(
            case,
            label=self.label,
            phi=self.quantised(dataset.spec, absent),
            mask_sha256=sha256,
            **{"spacing": SPACING, "affine": AFFINE, **how},
        )


def _make_maps(shape: tuple[int, int, int] = (20, 40, 35), seed: int = 0) -> Maps:
    random = np.random.default_rng(seed)
    label = np.zeros(shape, np.uint8)
    z, y, x = (int(n) for n in random.integers(1, 4, 3))
    label[z : shape[0] // 2, y : shape[1] // 2, x : shape[2] // 2] = 5
    label[shape[0] // 2 :, shape[1] // 2 + y :, x:] = 7
    phi, regions = np.zeros(shape, np.float32), []
    for value in (0, 5, 7):
        inside = label == value
        distance = ndimage.distance_transform_edt(inside)
        maximum = float(distance.max())
        phi[inside] = (maximum - distance)[inside]
        mean = float(phi[inside].mean(dtype=np.float64))
        regions.append(Region(value=value, voxels=int(inside.sum()), maximum=maximum, mean_phi=mean))
    return Maps(label=label, phi=phi, regions=tuple(regions))


@pytest.fixture(scope="session")
def make_maps() -> Callable[..., Maps]:
    """(shape, seed): the maps of two boxes."""
    return _make_maps


@pytest.fixture(scope="session")
def maps() -> Maps:
    return _make_maps()


@pytest.fixture(scope="session")
def other_maps() -> Maps:
    """The maps of another mask on the same grid."""
    return _make_maps(seed=1)


@pytest.fixture(scope="session")
def image() -> NDArray[np.int16]:
    """An image on the grid of `maps`."""
    return np.random.default_rng(2).normal(0, 400, (20, 40, 35)).astype(np.int16)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """An empty dataset for the labels 5 and 7, in voxels."""
    return Dataset.create(tmp_path / "knees.zarr", MapSpec(labels=(5, 7)), names={5: "femur", 7: "patella"})


@pytest.fixture(scope="session")
def add_image() -> Callable[..., bool]:
    """(dataset, case, image, sha256): publish an image on the grid of `maps`."""

    def add(
        dataset: WritableDataset, case: str, image: NDArray[Any], sha256: str = "i" * 64, **how: Any
    ) -> bool:
        return dataset.publish_image(
            case, image, sha256=sha256, **{"spacing": SPACING, "affine": AFFINE, **how}
        )

    return add


@pytest.fixture
def published(
    dataset: Dataset, maps: Maps, image: NDArray[Any], add_image: Callable[..., bool]
) -> tuple[Dataset, Path]:
    """A dataset of the case a with an image, and the folder of the case."""
    maps.publish(dataset, "a", "a" * 64)
    add_image(dataset, "a", image)
    return dataset, dataset.path / "a"
