"""The positions of a case are voxels of their labels, and the same for the same mask."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import Blosc
from numpy.typing import NDArray

from dmapsvc.errors import Damaged
from dmapsvc.quantised import QuantisedMap
from dmapsvc.region import Region
from dmapsvc.spec import MapSpec, Quantisation
from dmapsvc.store import CaseRecord, Dataset, check, layout
from dmapsvc.store.checksum import seal
from dmapsvc.store.positions import by_label, draw_positions

if TYPE_CHECKING:
    from tests.store.conftest import Maps

A = "a" * 64
SPEC = MapSpec()


def record_of(label: NDArray[Any]) -> CaseRecord:
    """The record of a mask whose every value is a class."""
    values, counts = np.unique(label, return_counts=True)
    regions = tuple(
        Region(value=int(value), voxels=int(count), maximum=1.0, mean_phi=0.0)
        for value, count in zip(values, counts, strict=True)
    )
    z, y, x = label.shape
    return CaseRecord(
        id=A,
        spec=SPEC,
        map_version=1,
        mask_sha256=A,
        revision=1,
        shape=(z, y, x),
        spacing=None,
        affine=None,
        regions=regions,
        absent=(),
        backend="scipy",
        quantisation=Quantisation(scale_factor=1 / 64),
        published="2026-01-01T00:00:00+00:00",
    )


@st.composite
def label_maps(draw: st.DrawFn) -> NDArray[Any]:
    """Noise, boxes or both: runs of one voxel and of many, of few values and of many."""
    shape = draw(st.tuples(*[st.integers(1, 40)] * 3))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.sampled_from([1, 2, 4]))
    kind, largest = f"u{size}", 256**size - 1
    values = np.array([0, *random.choice(largest, draw(st.integers(1, 30)), replace=False)], np.int64)
    label = np.zeros(shape, kind)
    for value in values:
        low = [int(random.integers(0, side)) for side in shape]
        label[tuple(slice(start, start + int(random.integers(1, 20))) for start in low)] = value
    noisy = random.random(shape) < draw(st.sampled_from([0.0, 0.05, 1.0]))
    label[noisy] = random.choice(values, int(noisy.sum()))
    return label


@settings(max_examples=200)
@given(label=label_maps())
def test_positions_are_different_voxels_of_their_labels(label: NDArray[Any]) -> None:
    record = record_of(label)
    rows = draw_positions(label, record)
    counts = dict(layout.position_counts(record))
    assert list(counts) == [region.value for region in record.regions if region.value]
    share = min(4096, 65_536 // max(1, len(counts)))
    assert rows.shape == (sum(counts.values()), 3)
    for value, places in by_label(rows, record).items():
        voxels = np.count_nonzero(label == value)
        assert len(places) == counts[value] == min(voxels, share)
        assert len(np.unique(places, axis=0)) == len(places)
        assert (label[tuple(places.T)] == value).all()
    np.testing.assert_array_equal(draw_positions(np.asfortranarray(label), record), rows)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_label_is_drawn_the_same_whatever_lies_beside_it(seed: int) -> None:
    random = np.random.default_rng(seed)
    label = np.zeros((24, 24, 24), np.uint8)
    label[2:20, 2:20, 2:20] = 3
    alone = by_label(draw_positions(label, record_of(label)), record_of(label))[3]
    label[20:] = random.integers(4, 9, (4, 24, 24))
    beside = by_label(draw_positions(label, record_of(label)), record_of(label))[3]
    np.testing.assert_array_equal(beside, alone)


def test_positions_are_drawn_evenly() -> None:
    label = np.ones((64, 64, 64), np.uint8)
    label[0, 0, 0] = 0
    rows = draw_positions(label, record_of(label))
    assert len(rows) == layout.POSITIONS_PER_LABEL
    for axis in range(3):
        halves = np.count_nonzero(rows[:, axis] < 32)
        assert abs(halves - 2048) < 5 * np.sqrt(4096 / 4)  # five deviations of a fair coin


def test_many_labels_share_what_a_case_may_have() -> None:
    label = np.repeat(np.arange(1, 1001, dtype=np.uint16), 100).reshape(10, 100, 100)
    counts = layout.position_counts(record_of(label))
    assert [count for _, count in counts] == [layout.POSITIONS_PER_CASE // 1000] * 1000
    rows = by_label(draw_positions(label, record_of(label)), record_of(label))
    assert all((label[tuple(places.T)] == value).all() for value, places in rows.items())


def test_a_side_beyond_16_bits_is_kept() -> None:
    label = np.zeros((1, 2, 70_000), np.uint8)
    label[0, 1, 69_999] = 4
    rows = draw_positions(label, record_of(label))
    assert rows.dtype == np.uint32
    assert rows.tolist() == [[0, 1, 69_999]]


def test_a_case_gives_its_positions_by_label(dataset: Dataset, maps: Maps) -> None:
    maps.publish(dataset, "a", A)
    positions = dataset.case("a").positions()
    assert list(positions) == [5, 7]
    for value, rows in positions.items():
        assert rows.dtype == np.uint16
        assert (maps.label[tuple(rows.T)] == value).all()
        voxels = np.count_nonzero(maps.label == value)
        assert len(rows) == min(voxels, layout.POSITIONS_PER_LABEL)
    maps.publish(dataset, "b", "b" * 64)
    for value, rows in dataset.case("b").positions().items():
        np.testing.assert_array_equal(rows, positions[value])


def test_positions_are_a_plain_zarr_array(dataset: Dataset, maps: Maps) -> None:
    maps.publish(dataset, "a", A)
    array = zarr.open_array(dataset.path / "a" / "positions", mode="r")
    attributes: dict[str, Any] = array.attrs.asdict()
    rows = np.concatenate(list(dataset.case("a").positions().values()))
    np.testing.assert_array_equal(np.asarray(array[...]), rows)
    assert attributes["labels"] == [[v, len(r)] for v, r in dataset.case("a").positions().items()]
    assert attributes["seed"] == layout.POSITIONS_SEED


def test_a_case_without_foreground_has_none(dataset: Dataset) -> None:
    only = Region(value=0, voxels=60, maximum=0.0, mean_phi=0.0, degenerate=True)
    phi = QuantisedMap(
        values=np.zeros((3, 4, 5), np.uint16),
        quantisation=Quantisation(scale_factor=1 / 64),
        regions=(only,),
        absent=(5, 7),
        spec=dataset.spec,
        backend="scipy",
    )
    label = np.zeros((3, 4, 5), np.uint8)
    dataset.publish("a", label=label, phi=phi, spacing=None, affine=None, mask_sha256=A)
    assert dataset.case("a").positions() == {}
    assert dataset.is_sound("a")
    assert list(check(dataset)) == []
    assert np.asarray(zarr.open_array(dataset.path / "a" / "positions", mode="r")[...]).shape == (0, 3)


def test_the_files_of_a_case_are_those_that_lie_there(
    dataset: Dataset, maps: Maps, image: NDArray[Any], add_image: Callable[..., bool]
) -> None:
    for values in (None, image, np.stack([image, image])):
        if values is None:
            maps.publish(dataset, "a", A)
        else:
            add_image(dataset, "a", values, sha256=str(values.ndim) * 64)
        folder = dataset.path / "a"
        files = layout.case_files(dataset.case("a").record)
        assert files[0] == "zarr.json"
        assert sorted(files) == sorted(
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
        )


@pytest.mark.parametrize("keep", [0, 1, 19, -1, None])
def test_damaged_positions_are_found_raise_and_are_mended(
    dataset: Dataset, maps: Maps, keep: int | None
) -> None:
    maps.publish(dataset, "a", A)
    opened, chunk = dataset.case("a"), dataset.path / "a" / "positions" / "c" / "0" / "0"
    if keep is None:
        chunk.unlink()
    else:
        chunk.write_bytes(chunk.read_bytes()[:keep])
    assert [finding.array for finding in check(dataset)] == ["positions"]
    assert not dataset.is_sound("a")
    for case in (opened, dataset.case("a")):
        with pytest.raises(Damaged, match="case 'a': positions"):
            case.positions()
    maps.publish(dataset, "a", A, replace=True)
    assert list(check(dataset)) == []


def test_every_flipped_byte_of_the_positions_is_found(dataset: Dataset, maps: Maps) -> None:
    maps.publish(dataset, "a", A)
    chunk = dataset.path / "a" / "positions" / "c" / "0" / "0"
    whole = chunk.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(whole), 40).tolist():
        chunk.write_bytes(whole[:place] + bytes([whole[place] ^ 8]) + whole[place + 1 :])
        assert not dataset.is_sound("a")
        with pytest.raises(Damaged, match="positions"):
            dataset.case("a").positions()


@pytest.mark.parametrize("edit", ["swapped", "doubled", "outside"])
def test_positions_that_are_not_those_of_the_label_are_found(dataset: Dataset, maps: Maps, edit: str) -> None:
    maps.publish(dataset, "a", A)
    rows = np.concatenate(list(dataset.case("a").positions().values()))
    if edit == "swapped":
        rows = rows[::-1]
    else:
        rows[0] = rows[1] if edit == "doubled" else (1, 40, 2)
    chunk = dataset.path / "a" / "positions" / "c" / "0" / "0"
    chunk.write_bytes(seal(Blosc("lz4hc", 1).encode(np.ascontiguousarray(rows))))
    (finding,) = check(dataset)
    assert finding.array == "positions"
    assert "1 of its rows" in finding.found or edit == "swapped"


def test_positions_metadata_that_were_edited_are_found(dataset: Dataset, maps: Maps) -> None:
    maps.publish(dataset, "a", A)
    node = dataset.path / "a" / "positions" / "zarr.json"
    content = json.loads(node.read_text())
    content["attributes"]["seed"] = 1
    node.write_text(json.dumps(content))
    (finding,) = check(dataset)
    assert finding.array == "positions"
    assert not dataset.is_sound("a")
    node.unlink()
    (finding,) = check(dataset)
    assert "missing" in finding.found


def test_positions_survive_another_image(
    dataset: Dataset, maps: Maps, image: NDArray[Any], add_image: Callable[..., bool]
) -> None:
    maps.publish(dataset, "a", A)
    before = dataset.case("a").positions()
    add_image(dataset, "a", image)
    add_image(dataset, "a", image + 1, sha256="j" * 64)
    for value, rows in dataset.case("a").positions().items():
        np.testing.assert_array_equal(rows, before[value])


def test_a_label_is_no_region_of_another_record(dataset: Dataset, maps: Maps) -> None:
    record = maps.publish(dataset, "a", A)
    fewer = dataclasses.replace(record, regions=record.regions[:2])
    assert dict(layout.position_counts(fewer)).keys() == {5}
