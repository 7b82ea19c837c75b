"""What is published is what was given; what may replace what; what goes with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from dmapsvc.errors import BadName, Conflict, GridMismatch, NotFound, Superseded
from dmapsvc.quantised import QuantisedMap
from dmapsvc.region import Region
from dmapsvc.spec import MapSpec, Quantisation, map_id
from dmapsvc.store import CaseRecord, Dataset, check

if TYPE_CHECKING:
    from tests.store.conftest import Maps

A, B = "a" * 64, "b" * 64


def test_a_case_reads_back_as_it_was_given(dataset: Dataset, maps: Maps) -> None:
    given_record = maps.publish(dataset, "a", A, absent=(9,), revision=3, seconds={"map": 1.5})
    case = Dataset.open(dataset.path).case("a")
    assert case.record == given_record
    assert CaseRecord.from_json(json.loads(json.dumps(given_record.to_json()))) == given_record
    assert given_record.id == map_id(dataset="knees", case="a", mask_sha256=A, spec=dataset.spec)
    assert (given_record.absent, given_record.revision, given_record.regions) == ((9,), 3, maps.regions)
    assert set(given_record.seconds) == {"map", "publish"}
    np.testing.assert_array_equal(np.asarray(case.label[...]), maps.label)
    assert case.label.dtype == np.uint8
    assert np.abs(case.phi_values() - maps.phi).max() <= case.record.quantisation.max_error <= 0.01
    part = (slice(3, 9), 5, slice(None, None, 2))
    np.testing.assert_array_equal(case.phi_values(part), case.phi_values()[part])
    assert case.image is None
    assert list(check(dataset)) == []


def test_ordinary_zarr_reads_the_store_with_cf_attributes(dataset: Dataset, maps: Maps) -> None:
    maps.publish(dataset, "a", A)
    phi = zarr.open_group(dataset.path, mode="r")["a/phi/0"]
    assert isinstance(phi, zarr.Array)
    step: Any = phi.attrs.asdict()
    values = np.asarray(phi[...]) * step["scale_factor"] + step["add_offset"]
    assert np.abs(values - maps.phi).max() <= step["max_error"]
    assert phi.metadata.to_dict()["dimension_names"] == ("z", "y", "x")
    assert len(list((dataset.path / "a/phi/0").rglob("c/**/0"))) == 3  # c/0, c/0/0 and one shard, c/0/0/0


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((1, 1, 1), np.uint8), ((1, 33, 64), np.uint16), ((65, 2, 31), np.uint32), ((32, 32, 32), np.uint8)],
)
def test_every_shape_and_type_of_label_is_kept(
    dataset: Dataset, shape: tuple[int, int, int], dtype: Any
) -> None:
    largest = int(np.iinfo(dtype).max)
    label = np.full(shape, largest, dtype)
    only = Region(value=0, voxels=label.size, maximum=0.0, mean_phi=0.0, degenerate=True)
    dataset.publish(
        "a",
        label=label[:, ::-1],
        phi=QuantisedMap(
            values=np.zeros(shape, np.uint16),
            quantisation=Quantisation(scale_factor=1 / 64),
            regions=(only,),
            absent=(5, 7),
            spec=dataset.spec,
            backend="scipy",
        ),
        spacing=None,
        affine=None,
        mask_sha256=A,
    )
    assert list(check(dataset)) == []
    np.testing.assert_array_equal(dataset.case("a").read("label"), label)
    assert dataset.case("a").label.dtype == dtype


def test_progress_rises_to_one(dataset: Dataset, maps: Maps) -> None:
    seen: list[float] = []
    maps.publish(dataset, "a", A, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_a_failing_progress_leaves_nothing(dataset: Dataset, maps: Maps) -> None:
    def stop(fraction: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        maps.publish(dataset, "a", A, progress=stop)
    assert dataset.cases() == []
    assert _work(dataset) == []


def test_another_mask_is_a_conflict_that_names_both(dataset: Dataset, maps: Maps, other_maps: Maps) -> None:
    maps.publish(dataset, "a", A)
    with pytest.raises(Conflict, match=rf"(?s){A}.*{B}"):
        other_maps.publish(dataset, "a", B)
    assert dataset.case("a").record.mask_sha256 == A


def test_replacing_publishes_the_other_mask_whole(dataset: Dataset, maps: Maps, other_maps: Maps) -> None:
    maps.publish(dataset, "a", A)
    other_maps.publish(dataset, "a", B, replace=True, revision=2)
    np.testing.assert_array_equal(np.asarray(dataset.case("a").label[...]), other_maps.label)
    assert list(check(dataset)) == []
    assert _work(dataset) == []


def test_the_same_map_again_changes_nothing_but_a_later_revision_does(dataset: Dataset, maps: Maps) -> None:
    first = maps.publish(dataset, "a", A)
    assert maps.publish(dataset, "a", A) == first
    assert maps.publish(dataset, "a", A, revision=4).revision == 4
    assert dataset.case("a").record.revision == 4


def test_an_older_revision_never_wins(dataset: Dataset, maps: Maps, other_maps: Maps) -> None:
    maps.publish(dataset, "a", A, revision=2)
    with pytest.raises(Superseded):
        other_maps.publish(dataset, "a", B, revision=1, replace=True)
    assert dataset.case("a").record.mask_sha256 == A


def test_what_is_no_longer_wanted_is_not_published(
    dataset: Dataset, maps: Maps, image: NDArray[Any], add_image: Callable[..., bool]
) -> None:
    with pytest.raises(Superseded):
        maps.publish(dataset, "a", A, wanted=lambda: False)
    with pytest.raises(Superseded):
        add_image(dataset, "a", image, wanted=lambda: False)
    assert dataset.cases() == []
    assert dataset.held_image("a") is None


def test_an_image_before_its_mask_is_held_and_goes_with_it(
    dataset: Dataset, maps: Maps, image: NDArray[Any], add_image: Callable[..., bool]
) -> None:
    assert add_image(dataset, "a", image) is False
    held = dataset.held_image("a")
    assert held is not None
    assert held.sha256 == "i" * 64
    assert dataset.cases() == []
    assert maps.publish(dataset, "a", A).image == held
    assert dataset.held_image("a") is None
    np.testing.assert_array_equal(dataset.case("a").read("image"), image)
    assert list(check(dataset)) == []


@pytest.mark.parametrize("channels", [None, 2])
def test_an_image_after_its_mask_is_published_and_kept_when_the_mask_is_replaced(
    dataset: Dataset,
    maps: Maps,
    other_maps: Maps,
    image: NDArray[Any],
    add_image: Callable[..., bool],
    channels: int | None,
) -> None:
    values = image if channels is None else np.stack([image] * channels)
    maps.publish(dataset, "a", A)
    assert add_image(dataset, "a", values) is True
    assert list(check(dataset)) == []
    other_maps.publish(dataset, "a", B, replace=True)
    np.testing.assert_array_equal(dataset.case("a").read("image"), values)
    assert list(check(dataset)) == []


def test_another_image_takes_the_place_of_the_first(
    dataset: Dataset, maps: Maps, image: NDArray[Any], add_image: Callable[..., bool]
) -> None:
    maps.publish(dataset, "a", A)
    add_image(dataset, "a", image)
    add_image(dataset, "a", image + 1, sha256="j" * 64)
    np.testing.assert_array_equal(dataset.case("a").read("image"), image + 1)
    np.testing.assert_array_equal(dataset.case("a").read("label"), maps.label)
    assert list(check(dataset)) == []


def test_an_image_that_comes_later_does_not_change_when_the_map_was_published(
    dataset: Dataset, maps: Maps, image: NDArray[Any], add_image: Callable[..., bool]
) -> None:
    first = maps.publish(dataset, "a", A)
    for values, sha256 in ((image, "i" * 64), (image + 1, "j" * 64)):
        add_image(dataset, "a", values, sha256=sha256)
        assert dataset.case("a").record.published == first.published


def test_an_image_on_another_grid_is_refused_and_nothing_is_lost(
    dataset: Dataset, maps: Maps, image: NDArray[Any], add_image: Callable[..., bool]
) -> None:
    maps.publish(dataset, "a", A)
    add_image(dataset, "a", image)
    for values, how in (
        (image[:-1], {}),
        (image, {"spacing": (0.7, 0.4, 0.5)}),
        (image, {"affine": np.diag([0.4, 0.4, 0.7, 1.0])}),
    ):
        with pytest.raises(GridMismatch):
            add_image(dataset, "a", values, sha256="j" * 64, **how)
    np.testing.assert_array_equal(dataset.case("a").read("image"), image)
    assert list(check(dataset)) == []


def test_a_mask_that_does_not_fit_the_image_is_refused_and_nothing_is_lost(
    dataset: Dataset,
    maps: Maps,
    make_maps: Callable[..., Maps],
    image: NDArray[Any],
    add_image: Callable[..., bool],
) -> None:
    small = make_maps((10, 20, 30))
    add_image(dataset, "held", image)
    maps.publish(dataset, "published", A)
    add_image(dataset, "published", image)
    for case in ("held", "published"):
        with pytest.raises(GridMismatch):
            small.publish(dataset, case, B, replace=True)
    assert dataset.held_image("held") is not None
    np.testing.assert_array_equal(dataset.case("published").read("image"), image)
    assert dataset.cases() == ["published"]


def test_deleting_removes_the_case_and_the_held_image(
    dataset: Dataset, maps: Maps, image: NDArray[Any], add_image: Callable[..., bool]
) -> None:
    maps.publish(dataset, "a", A)
    add_image(dataset, "b", image)
    dataset.delete("a")
    dataset.delete("b")
    assert "a" not in dataset
    assert dataset.held_image("b") is None
    for case in ("a", "b"):
        with pytest.raises(NotFound, match=f"'{case}'"):
            dataset.delete(case)


def test_destroying_leaves_nothing_behind(
    dataset: Dataset, maps: Maps, image: NDArray[Any], add_image: Callable[..., bool]
) -> None:
    maps.publish(dataset, "a", A)
    add_image(dataset, "b", image)
    dataset.destroy()
    assert list(dataset.path.parent.iterdir()) == []
    with pytest.raises(NotFound):
        Dataset.open(dataset.path)
    with pytest.raises(NotFound):
        maps.publish(dataset, "c", A)
    again = Dataset.create(dataset.path, dataset.spec)
    assert again.held_image("b") is None


def test_a_dataset_may_be_given_another_spec_until_a_case_is_published(dataset: Dataset, maps: Maps) -> None:
    changed = Dataset.create(dataset.path, MapSpec(labels=(5,)))
    assert Dataset.open(dataset.path).spec == MapSpec(labels=(5,))
    with pytest.raises(Conflict):
        maps.publish(dataset, "a", A)  # mapped by the spec that was there before
    Dataset.create(dataset.path, dataset.spec, names={5: "femur"})
    maps.publish(dataset, "a", A)
    with pytest.raises(Conflict):
        Dataset.create(dataset.path, changed.spec)
    assert Dataset.create(dataset.path, dataset.spec).names == {5: "femur"}
    assert Dataset.create(dataset.path, dataset.spec, names={7: "patella"}).names == {7: "patella"}
    assert dataset.cases() == ["a"]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "mine.zarr" / "notes.txt").write_text("keep me")
    with pytest.raises(Conflict):
        Dataset.create(tmp_path / "mine.zarr", MapSpec())
    assert (tmp_path / "mine.zarr" / "notes.txt").read_text() == "keep me"
    with pytest.raises(NotFound):
        Dataset.open(tmp_path / "mine.zarr")


@pytest.mark.parametrize("name", ["..", ".hidden", "a/b", "a\0b", "x" * 300, "", "zarr.json", "Zarr.JSON"])
def test_names_that_leave_the_folder_are_refused(dataset: Dataset, maps: Maps, name: str) -> None:
    with pytest.raises(BadName):
        maps.publish(dataset, name, A)
    for call in (dataset.case, dataset.delete, dataset.__contains__):
        with pytest.raises(BadName):
            call(name)


def test_a_file_in_the_place_of_a_case_is_left_alone(
    dataset: Dataset, maps: Maps, image: NDArray[Any], add_image: Callable[..., bool]
) -> None:
    file = dataset.path / "notes.txt"
    file.write_text("keep me")
    add_image(dataset, "notes.txt", image)
    for act in (
        lambda: maps.publish(dataset, "notes.txt", A, replace=True),
        lambda: dataset.delete("notes.txt"),
    ):
        with pytest.raises(Conflict, match=r"notes\.txt"):
            act()
    assert file.read_text() == "keep me"
    assert dataset.held_image("notes.txt") is not None
    assert _work(dataset) == []


def test_the_name_of_the_datasets_metadata_destroys_nothing(
    dataset: Dataset, maps: Maps, image: NDArray[Any], add_image: Callable[..., bool]
) -> None:
    maps.publish(dataset, "a", A)
    for act in (
        lambda: maps.publish(dataset, "zarr.json", B, replace=True),
        lambda: add_image(dataset, "zarr.json", image),
        lambda: dataset.delete("zarr.json"),
    ):
        with pytest.raises(BadName):
            act()
    assert Dataset.open(dataset.path).cases() == ["a"]
    assert list(check(dataset)) == []


@pytest.mark.parametrize("name", ["c", "label", "zarr.json.a", "n" * 128])
def test_odd_names_that_are_allowed_work(dataset: Dataset, maps: Maps, name: str) -> None:
    maps.publish(dataset, name, A)
    assert dataset.cases() == [name]
    assert dataset.case(name).phi_values().shape == maps.phi.shape


def test_the_record_holds_no_path(dataset: Dataset, maps: Maps) -> None:
    maps.publish(dataset, "a", A)
    for node in dataset.path.rglob("zarr.json"):
        assert str(dataset.path.parent) not in node.read_text()


def _work(dataset: Dataset) -> list[Path]:
    return list((dataset.path.parent / f".{dataset.path.name}.staging" / "work").iterdir())
