"""`check` finds whatever is wrong, and reading never passes damage off as data."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dmapsvc.errors import Damaged, NotFound
from dmapsvc.store import Dataset, Finding, check

if TYPE_CHECKING:
    from tests.store.conftest import Maps

A = "a" * 64
ARRAYS = ("label", "phi", "image")


@pytest.fixture
def published(dataset: Dataset, maps: Maps, image: NDArray[Any], add_image: Callable[..., bool]) -> Dataset:
    """A dataset with the case `a`, which has an image."""
    maps.publish(dataset, "a", A)
    add_image(dataset, "a", image)
    return dataset


def test_a_sound_dataset_has_no_findings(published: Dataset) -> None:
    assert list(check(published)) == []
    assert list(check(published.path, "a")) == []


def test_what_is_not_there_cannot_be_checked(published: Dataset) -> None:
    with pytest.raises(NotFound, match="'b'"):
        list(check(published, "b"))
    with pytest.raises(NotFound):
        list(check(published.path.with_name("none.zarr")))


@pytest.mark.parametrize("array", ARRAYS)
def test_every_flipped_byte_is_found(published: Dataset, array: str) -> None:
    shard = _shard(published, array)
    whole = shard.read_bytes()
    random = np.random.default_rng(0)
    ends = [0, 1, 15, 16, len(whole) // 2, *range(len(whole) - 80, len(whole), 7), len(whole) - 1]
    for place in [*ends, *random.integers(0, len(whole), 40).tolist()]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(random.integers(8))
        shard.write_bytes(damaged)
        (finding,) = check(published)
        assert (finding.case, finding.array) == ("a", array)
    shard.write_bytes(whole)
    assert list(check(published)) == []


@pytest.mark.parametrize("array", ARRAYS)
def test_a_damaged_chunk_raises_when_it_is_read(published: Dataset, array: Any) -> None:
    shard = _shard(published, array)
    damaged = bytearray(shard.read_bytes())
    damaged[40] ^= 4
    shard.write_bytes(damaged)
    with pytest.raises(Damaged, match=f"case 'a': {array}"):
        published.case("a").read(array)


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize("keep", [0, 1, 19, -1])
def test_a_truncated_shard_is_found_and_raises_when_it_is_read(
    published: Dataset, array: Any, keep: int
) -> None:
    shard = _shard(published, array)
    shard.write_bytes(shard.read_bytes()[:keep])
    assert [finding.array for finding in check(published)] == [array]
    with pytest.raises(Damaged, match=f"case 'a': {array}"):
        published.case("a").read(array)


@pytest.mark.parametrize("array", ARRAYS)
def test_a_missing_shard_is_found_and_never_reads_as_zeros(published: Dataset, array: Any) -> None:
    opened = published.case("a")
    _shard(published, array).unlink()
    (finding,) = check(published)
    assert (finding.array, "missing" in finding.found) == (array, True)
    for case in (opened, published.case("a")):
        with pytest.raises(Damaged, match=f"case 'a': {array}: its shard is missing or empty"):
            case.read(array)
        with pytest.raises(Damaged):
            getattr(case, array)[...]


def test_a_case_whose_metadata_is_broken_is_found_and_can_be_replaced(published: Dataset, maps: Maps) -> None:
    (published.path / "a" / "zarr.json").write_text("{")
    (finding,) = check(published)
    assert finding.case == "a"
    with pytest.raises(Damaged):
        published.case("a")
    with pytest.raises(Damaged):
        maps.publish(published, "a", A)
    maps.publish(published, "a", A, replace=True)
    assert list(check(published)) == []


@pytest.mark.parametrize(
    "path", ["label/zarr.json", "label/0/zarr.json", "phi/0/zarr.json", "image/zarr.json"]
)
def test_metadata_that_were_edited_are_found(published: Dataset, path: str) -> None:
    node = published.path / "a" / path
    content = json.loads(node.read_text())
    content["attributes"]["scale_factor"] = 0.5
    node.write_text(json.dumps(content))
    assert [finding.array for finding in check(published)] == [path.partition("/")[0]]
    node.unlink()
    assert [finding.array for finding in check(published)] == [path.partition("/")[0]]


@pytest.mark.parametrize(
    ("array", "edit"),
    [
        ("label", {"voxels": 1}),
        ("phi", {"maximum": 2.0}),
        ("phi", {"mean_phi": 0.5}),
        ("phi", {"degenerate": True}),
    ],
)
def test_a_region_that_is_not_that_of_the_voxels_is_found(
    published: Dataset, array: str, edit: dict[str, Any]
) -> None:
    _edit_record(published, lambda record: record["regions"][1].update(edit))
    *others, finding = check(published)
    assert (finding.array, "region 5" in finding.found) == (array, True)
    assert {finding.array for finding in others} <= {"positions"}


def test_labels_that_the_record_does_not_list_are_found(published: Dataset) -> None:
    _edit_record(published, lambda record: record["regions"].pop(1))
    positions, label = check(published)
    assert (positions.array, "record" in positions.found) == ("positions", True)
    assert "does not list" in label.found


def test_a_case_of_another_spec_is_found(published: Dataset) -> None:
    _edit_record(published, lambda record: record.update(spec_hash="0" * 64))
    assert "spec" in _only(published).found


def test_a_map_that_is_not_that_of_the_label_is_found(
    published: Dataset, other_maps: Maps, dataset: Dataset
) -> None:
    other_maps.publish(dataset, "b", "b" * 64)
    _shard(published, "phi").write_bytes((dataset.path / "b/phi/0/c/0/0/0").read_bytes())
    assert {finding.array for finding in check(published, "a")} == {"phi"}


def test_what_does_not_belong_is_found(published: Dataset) -> None:
    (published.path / "notes.txt").write_text("mine")
    (published.path / "half").mkdir()
    (published.path / "a" / "phi" / "1").write_text("more")
    found = {finding.found for finding in check(published)}
    assert {"notes.txt is no part of the dataset", "half is no part of the dataset"} < found
    assert "phi/1 is no part of the case" in found
    assert published.cases() == ["a"]


def test_a_damaged_image_is_mended_by_sending_it_again(
    published: Dataset, image: NDArray[Any], add_image: Callable[..., bool]
) -> None:
    _shard(published, "image").write_bytes(b"")
    add_image(published, "a", image)
    assert list(check(published)) == []
    np.testing.assert_array_equal(published.case("a").read("image"), image)


def test_whether_a_case_is_sound(published: Dataset, maps: Maps) -> None:
    assert published.is_sound("a")
    assert not published.is_sound("b")
    maps.publish(published, "b", "b" * 64)
    assert published.is_sound("b")


@pytest.mark.parametrize("array", ARRAYS)
def test_a_case_with_a_damaged_array_is_not_sound(published: Dataset, array: str) -> None:
    shard = _shard(published, array)
    whole = shard.read_bytes()
    for place in (0, len(whole) // 2, len(whole) - 1):
        shard.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert not published.is_sound("a")
    shard.unlink()
    assert not published.is_sound("a")
    shard.write_bytes(whole)
    assert published.is_sound("a")


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
@pytest.mark.parametrize("path", ["zarr.json", "label/zarr.json", "phi/0/zarr.json", "image/zarr.json"])
def test_a_case_with_damaged_metadata_is_not_sound(
    published: Dataset, path: str, content: str | None
) -> None:
    (published.path / "a" / path).unlink()
    if content is not None:
        (published.path / "a" / path).write_text(content)
    assert not published.is_sound("a")


@pytest.mark.parametrize("path", ["zarr.json", "0/zarr.json", "0/c/0/0/0"])
@pytest.mark.parametrize("array", ["label", "phi"])
def test_damaged_maps_are_mended_by_publishing_the_same_mask_with_replace(
    published: Dataset, maps: Maps, image: NDArray[Any], array: str, path: str
) -> None:
    (published.path / "a" / array / path).write_bytes(b"")
    maps.publish(published, "a", A, replace=True)
    assert list(check(published)) == []
    assert published.is_sound("a")
    np.testing.assert_array_equal(published.case("a").read("image"), image)


@pytest.mark.parametrize("path", ["", "zarr.json", "0/zarr.json", "0/c/0/0/0"])
@pytest.mark.parametrize("sha256", [A, "b" * 64], ids=["same mask", "other mask"])
def test_a_damaged_image_is_left_out_when_the_mask_is_replaced(
    published: Dataset, maps: Maps, sha256: str, path: str
) -> None:
    damaged = published.path / "a" / "image" / path
    if path:
        damaged.write_bytes(b"")
    else:
        shutil.rmtree(damaged)
    with pytest.raises(Damaged, match=r"(?s)image.*replace"):
        maps.publish(published, "a", A, revision=2)
    assert maps.publish(published, "a", sha256, revision=2, replace=True).image is None
    assert published.case("a").image is None
    assert list(check(published)) == []
    assert published.is_sound("a")


def test_a_damaged_held_image_is_left_out_with_replace(
    dataset: Dataset, maps: Maps, image: NDArray[Any], add_image: Callable[..., bool]
) -> None:
    add_image(dataset, "a", image)
    (shard,) = (dataset.path.parent / ".knees.zarr.staging" / "held").glob("a/0/c/0/0/0")
    shard.write_bytes(b"")
    with pytest.raises(Damaged, match="image"):
        maps.publish(dataset, "a", A)
    assert maps.publish(dataset, "a", A, replace=True).image is None
    assert list(check(dataset)) == []


def test_an_image_whose_metadata_were_edited_is_mended_by_sending_it_again(
    published: Dataset, image: NDArray[Any], add_image: Callable[..., bool]
) -> None:
    node = published.path / "a" / "image" / "zarr.json"
    node.write_text(node.read_text().replace("millimeter", "meter"))
    assert list(check(published)) != []
    add_image(published, "a", image)
    assert list(check(published)) == []


def test_a_dataset_whose_spec_was_edited_does_not_open(published: Dataset) -> None:
    node = published.path / "zarr.json"
    node.write_text(node.read_text().replace('"voxel"', '"mm"'))
    with pytest.raises(Damaged, match="hash"):
        Dataset.open(published.path)


def _shard(dataset: Dataset, array: str) -> Path:
    return dataset.path / "a" / array / "0" / "c" / "0" / "0" / "0"


def _only(dataset: Dataset) -> Finding:
    (finding,) = check(dataset)
    return finding


def _edit_record(dataset: Dataset, edit: Callable[[dict[str, Any]], object]) -> None:
    node = dataset.path / "a" / "zarr.json"
    content = json.loads(node.read_text())
    edit(content["attributes"]["dmapsvc"])
    node.write_text(json.dumps(content))
