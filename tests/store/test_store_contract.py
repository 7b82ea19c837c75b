"""What every dataset does, wherever it lies: in a folder, or in a bucket served by moto."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dmapsvc.errors import Conflict, GridMismatch, NotFound, Superseded
from dmapsvc.spec import MapSpec
from dmapsvc.store import WritableDataset, check
from dmapsvc.store.stores import BucketStore, DatasetStore, FolderStore
from tests.store import shelf

if TYPE_CHECKING:
    from tests.store.conftest import Maps

A, B = "a" * 64, "b" * 64
SPEC = MapSpec(labels=(5, 7))


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with shelf.moto() as url:
        yield url


class StoreContract(ABC):
    """What a store and its datasets do; `store` is an empty one."""

    @pytest.fixture
    @abstractmethod
    def store(self, *args: Any) -> DatasetStore:
        """An empty store."""

    @pytest.fixture
    def dataset(self, store: DatasetStore) -> WritableDataset:
        return store.create("knees", SPEC, {5: "femur"})

    def test_a_case_reads_back_as_it_was_given(
        self, store: DatasetStore, dataset: WritableDataset, maps: Maps
    ) -> None:
        given = maps.publish(dataset, "a", A, revision=3)
        read = store.open("knees")
        assert (read.cases(), read.names, "a" in read) == (["a"], {5: "femur"}, True)
        assert read.record("a") == read.case("a").record == given
        np.testing.assert_array_equal(read.case("a").read("label"), maps.label)
        assert np.abs(read.case("a").phi_values() - maps.phi).max() <= given.quantisation.max_error
        assert {value: len(rows) for value, rows in read.case("a").positions().items()}.keys() == {5, 7}
        assert dataset.is_sound("a")
        assert list(check(dataset)) == []

    def test_what_may_replace_what(self, dataset: WritableDataset, maps: Maps, other_maps: Maps) -> None:
        first = maps.publish(dataset, "a", A, revision=2)
        assert maps.publish(dataset, "a", A, revision=2) == first
        with pytest.raises(Conflict):
            other_maps.publish(dataset, "a", B, revision=3)
        with pytest.raises(Superseded):
            other_maps.publish(dataset, "a", B, revision=1, replace=True)
        with pytest.raises(Superseded):
            other_maps.publish(dataset, "a", B, revision=3, replace=True, wanted=lambda: False)
        assert dataset.record("a") == first
        other_maps.publish(dataset, "a", B, revision=3, replace=True)
        np.testing.assert_array_equal(dataset.case("a").read("label"), other_maps.label)
        assert list(check(dataset)) == []

    def test_a_reader_of_what_was_replaced_is_told(
        self, dataset: WritableDataset, maps: Maps, other_maps: Maps
    ) -> None:
        maps.publish(dataset, "a", A)
        opened = dataset.case("a")
        other_maps.publish(dataset, "a", B, revision=2, replace=True)
        with pytest.raises(Superseded):
            opened.read("phi")

    def test_an_image_comes_before_or_after_its_mask_or_anew(
        self,
        dataset: WritableDataset,
        maps: Maps,
        other_maps: Maps,
        image: NDArray[Any],
        add_image: Callable[..., bool],
    ) -> None:
        assert not add_image(dataset, "a", image, "i" * 64)
        assert not add_image(dataset, "a", image + 1, "j" * 64)
        assert dataset.held_image("a").sha256 == "j" * 64  # type: ignore[union-attr]
        assert maps.publish(dataset, "a", A).image.sha256 == "j" * 64  # type: ignore[union-attr]
        assert dataset.held_image("a") is None
        assert add_image(dataset, "a", image, "i" * 64)
        assert add_image(dataset, "a", image, "i" * 64)
        np.testing.assert_array_equal(dataset.case("a").read("image"), image)
        with pytest.raises(GridMismatch):
            add_image(dataset, "a", image[1:], "k" * 64)
        other_maps.publish(dataset, "a", B, revision=2, replace=True)
        np.testing.assert_array_equal(dataset.case("a").read("image"), image)
        maps.publish(dataset, "b", A)
        assert add_image(dataset, "b", np.stack([image, image]), "l" * 64)
        assert dataset.case("b").read("image").shape == (2, *image.shape)
        assert list(check(dataset)) == []

    def test_what_is_deleted_is_gone(
        self, dataset: WritableDataset, maps: Maps, image: NDArray[Any], add_image: Callable[..., bool]
    ) -> None:
        maps.publish(dataset, "a", A)
        add_image(dataset, "b", image)
        for case in "ab":
            dataset.delete(case)
            with pytest.raises(NotFound, match=case):
                dataset.delete(case)
        assert (dataset.cases(), dataset.is_empty(), dataset.strays()) == ([], True, [])
        assert dataset.record("a") is None
        assert dataset.held_image("b") is None
        maps.publish(dataset, "a", B)
        assert list(check(dataset)) == []

    def test_a_dataset_has_one_spec_while_it_has_cases(
        self, store: DatasetStore, dataset: WritableDataset, maps: Maps
    ) -> None:
        other = MapSpec(labels=(5,))
        assert store.create("knees", SPEC).names == {5: "femur"}
        assert store.create("knees", SPEC, {5: "thigh"}).names == {5: "thigh"}
        assert store.create("knees", other).spec == other
        with pytest.raises(Conflict, match="another spec meanwhile"):
            maps.publish(dataset, "a", A)
        maps.publish(store.create("knees", SPEC), "a", A)
        with pytest.raises(Conflict, match="has published cases"):
            store.create("knees", other)
        assert store.open("knees").spec == SPEC

    def test_datasets_are_listed_and_removed(
        self, store: DatasetStore, dataset: WritableDataset, maps: Maps
    ) -> None:
        hips = store.create("hips", SPEC)
        assert store.names() == ["hips", "knees"]
        maps.publish(dataset, "a", A)
        dataset.destroy_unused()
        with hips.at_work():
            store.open("hips").destroy_unused()
        assert store.names() == ["hips", "knees"]
        hips.destroy_unused()
        dataset.destroy()
        assert store.names() == []
        for name in ("hips", "knees"):
            with pytest.raises(NotFound, match=name):
                store.open(name)
        with pytest.raises((NotFound, Conflict)):
            maps.publish(dataset, "a", A)
        assert store.create("knees", SPEC).cases() == []

    def test_files_are_handed_on(self, store: DatasetStore, dataset: WritableDataset, maps: Maps) -> None:
        maps.publish(dataset, "a", A)
        node = dataset.look("a")
        assert node is not None
        file = store.file("knees.zarr/a/zarr.json")
        assert file is not None
        assert file.size == len(node)
        assert b"".join(file.blocks(5, len(node))) == node[5:]
        file.close()
        again = store.file("knees.zarr/a/zarr.json")
        assert again is not None
        assert again.tag == file.tag
        again.close()
        hidden = ("knees.zarr", "knees.zarr/b/zarr.json", "knees.zarr/../x", "knees.zarr/.a", ".knees.zarr/a")
        assert [store.file(path) for path in hidden] == [None] * 5

    def test_a_store_can_be_written(self, store: DatasetStore) -> None:
        store.check_writable()


class TestFolder(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> DatasetStore:
        store = FolderStore(tmp_path / "store", tmp_path / "staging")
        store.prepare()
        return store


class TestBucket(StoreContract):
    @pytest.fixture(params=["staged", "unstaged"])
    def store(
        self,
        endpoint: str,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        request: pytest.FixtureRequest,
    ) -> DatasetStore:
        bucket = f"b{abs(hash(request.node.name))}"
        shelf.use(monkeypatch, endpoint, bucket)
        store = BucketStore(f"s3://{bucket}/lab", tmp_path if request.param == "staged" else None)
        store.prepare()
        return store
