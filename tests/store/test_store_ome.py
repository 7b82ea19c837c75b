"""The store is OME-Zarr 0.5 that others validate and read: the same voxels, axes and physical spacing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ngff_zarr
import numpy as np
import pytest
import tensorstore
import zarr
from numpy.typing import NDArray
from ome_zarr_models.v05.image import Image
from ome_zarr_models.v05.image_label import ImageLabel

from dmapsvc.store import Dataset

if TYPE_CHECKING:
    from tests.store.conftest import Maps

A = "a" * 64
SPACING = (0.7, 0.4, 0.4)
KINDS = (np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64)


@pytest.fixture
def case(dataset: Dataset, maps: Maps, image: NDArray[Any], add_image: Callable[..., bool]) -> Path:
    """The folder of a case with an image of two channels."""
    maps.publish(dataset, "a", A)
    add_image(dataset, "a", np.stack([image, image + 1]))
    return dataset.path / "a"


def read_with_zarr(array: Path) -> NDArray[Any]:
    return np.asarray(zarr.open_array(array, mode="r")[...])


def read_with_tensorstore(array: Path) -> NDArray[Any]:
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(array)}}
    return np.asarray(tensorstore.open(spec, read=True).result().read().result())


@pytest.mark.parametrize(("array", "axes"), [("image", "czyx"), ("label", "zyx"), ("phi", "zyx")])
def test_each_is_valid_ome_zarr(case: Path, array: str, axes: str) -> None:
    model = (ImageLabel if array == "label" else Image).from_zarr(zarr.open_group(case / array, mode="r"))
    (multiscale,) = model.ome_attributes.multiscales
    assert [axis.name for axis in multiscale.axes] == list(axes)
    assert [axis.type for axis in multiscale.axes][-3:] == ["space"] * 3
    assert [axis.unit for axis in multiscale.axes][-3:] == ["millimeter"] * 3
    (level,) = multiscale.datasets
    scale = level.coordinateTransformations[0]
    assert tuple(scale.model_dump()["scale"][-3:]) == SPACING


@pytest.mark.parametrize(("array", "axes"), [("image", "czyx"), ("label", "zyx"), ("phi", "zyx")])
def test_an_ome_zarr_reader_sees_axes_spacing_and_voxels(case: Path, array: str, axes: str) -> None:
    (level,) = ngff_zarr.from_ngff_zarr(str(case / array), version="0.5").images
    assert level.dims == tuple(axes)
    assert tuple(level.scale[axis] for axis in "zyx") == SPACING
    assert level.axes_units is not None
    assert [level.axes_units[axis] for axis in "zyx"] == ["millimeter"] * 3
    assert set(level.translation.values()) == {0.0}
    np.testing.assert_array_equal(np.asarray(level.data), read_with_zarr(case / array / "0"))


def test_without_spacing_an_axis_has_no_unit(dataset: Dataset, maps: Maps) -> None:
    maps.publish(dataset, "a", A, spacing=None, affine=None)
    group = zarr.open_group(dataset.path / "a" / "phi", mode="r")
    (multiscale,) = Image.from_zarr(group).ome_attributes.multiscales
    assert [axis.unit for axis in multiscale.axes] == [None] * 3
    (level,) = ngff_zarr.from_ngff_zarr(str(dataset.path / "a" / "phi"), version="0.5").images
    assert set(level.scale.values()) == {1.0}


@pytest.mark.parametrize("read", [read_with_zarr, read_with_tensorstore])
def test_zarr_and_tensorstore_read_what_was_published(
    case: Path, dataset: Dataset, maps: Maps, image: NDArray[Any], read: Callable[[Path], NDArray[Any]]
) -> None:
    np.testing.assert_array_equal(read(case / "image" / "0"), np.stack([image, image + 1]))
    np.testing.assert_array_equal(read(case / "label" / "0"), maps.label)
    np.testing.assert_array_equal(read(case / "phi" / "0"), maps.quantised(dataset.spec).values)
    rows = np.concatenate(list(dataset.case("a").positions().values()))
    np.testing.assert_array_equal(read(case / "positions"), rows)


@pytest.mark.parametrize("read", [read_with_zarr, read_with_tensorstore])
@pytest.mark.parametrize("kind", KINDS)
def test_an_image_of_every_type_is_read(
    dataset: Dataset,
    maps: Maps,
    add_image: Callable[..., bool],
    kind: Any,
    read: Callable[[Path], NDArray[Any]],
) -> None:
    image = np.random.default_rng(0).uniform(0, 255, maps.label.shape).astype(kind)
    maps.publish(dataset, "a", A)
    add_image(dataset, "a", image)
    found = read(dataset.path / "a" / "image" / "0")
    assert found.dtype == kind
    np.testing.assert_array_equal(found, image)
    np.testing.assert_array_equal(dataset.case("a").read("image"), image)


def test_the_label_image_lists_its_values(case: Path, maps: Maps) -> None:
    model = ImageLabel.from_zarr(zarr.open_group(case / "label", mode="r"))
    assert model.ome_attributes.image_label is not None
    properties = model.ome_attributes.image_label.properties or ()
    assert [entry.label_value for entry in properties] == [region.value for region in maps.regions]
