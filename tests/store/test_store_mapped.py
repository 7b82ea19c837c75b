"""Boxes of a published case: as zarr reads them, however an array is written, and never of two editions."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ZstdCodec
from zarr.errors import ZarrUserWarning
from zarr.storage import LocalStore

import dmapsvc
from dmapsvc.errors import BadInput, Damaged, NotFound, Superseded
from dmapsvc.spec import MapSpec
from dmapsvc.store import Dataset, foreign, mapped
from dmapsvc.store.classtable import class_table
from dmapsvc.store.linear import precision
from dmapsvc.store.mapped import MappedCase
from dmapsvc.store.positions import read_positions
from tests.store.chunked_arrays import overlap

if TYPE_CHECKING:
    from tests.store.conftest import Maps

A, B = "a" * 64, "b" * 64
CLASSES = (0, 7, 5)
UNTOUCHED = -7
BOXES = [  # corner and sides
    ((2, 3, 4), (10, 30, 20)),
    ((-5, 20, 30), (16, 16, 16)),
    ((-3, -3, -3), (30, 50, 45)),
    ((0, 0, 0), (20, 40, 35)),
    ((25, 0, 0), (4, 4, 4)),
    ((0, -9, 0), (4, 4, 4)),
]

Found = tuple[NDArray[np.float32], NDArray[np.signedinteger[Any]], NDArray[np.float32]]


def read(case: MappedCase, corner: tuple[int, ...], sides: tuple[int, ...], kind: type = np.int16) -> Found:
    """Image, class indices and Φ of a box, with numbers of their own for each channel and class."""
    assert case.record.image is not None
    channels = case.record.image.channels
    image, phi = np.full((channels, *sides), UNTOUCHED, np.float32), np.full(sides, UNTOUCHED, np.float32)
    label: NDArray[np.signedinteger[Any]] = np.full(sides, UNTOUCHED, kind)
    case.read_image(corner, image, *numbers(channels))
    case.read_label(corner, label, class_table(CLASSES))
    case.read_phi(corner, phi, label, *numbers(len(CLASSES)))
    return image, label, phi


def numbers(count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Factors and offsets."""
    factor = np.linspace(0.1, 2, count, dtype=np.float32)
    return factor, 3 * factor + 1


def expected(dataset: Dataset, corner: tuple[int, ...], sides: tuple[int, ...]) -> Found:
    """The same by way of zarr and NumPy."""
    case = dataset.case("a")
    in_box, in_volume = overlap(corner, sides, case.record.shape)
    stored = case.read("image", (..., *in_volume))
    stored = stored.astype(precision(stored.dtype))[(np.newaxis,) * (4 - stored.ndim)]
    image, phi = np.full((len(stored), *sides), UNTOUCHED, np.float32), np.full(sides, UNTOUCHED, np.float32)
    label = np.full(sides, UNTOUCHED, np.int16)
    factor, offset = (given.reshape(-1, 1, 1, 1).astype(stored.dtype) for given in numbers(len(stored)))
    image[:, *in_box] = stored * factor + offset
    values = case.read("label", in_volume)
    classes = np.select([values == value for value in CLASSES], range(len(CLASSES)), 0)
    label[in_box] = classes
    factor, offset = numbers(len(CLASSES))
    phi[in_box] = case.read("phi", in_volume).astype(np.float32) * factor[classes] + offset[classes]
    return image, label, phi


def assert_reads_like_zarr(dataset: Dataset, case: MappedCase) -> None:
    for corner, sides in BOXES:
        for found, wanted in zip(read(case, corner, sides), expected(dataset, corner, sides), strict=True):
            np.testing.assert_array_equal(found, wanted)


def rewrite(dataset: Dataset, array: str, *, dtype: str | None = None, **how: Any) -> None:
    """Let zarr write an array of the case anew, as another tool would."""
    folder = LocalStore(dataset.path / "a")
    path = array if array == "positions" else f"{array}/0"
    old = zarr.open_array(folder, path=path, mode="r")
    values, attributes = np.asarray(old[...], dtype), dict(old.attrs)
    zarr.create_array(folder, name=path, data=values, overwrite=True, attributes=attributes, **how)
    with warnings.catch_warnings(action="ignore", category=ZarrUserWarning):  # not in the specification yet
        zarr.consolidate_metadata(folder, zarr_format=3)


def foreign_arrays(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What is read by zarr from now on."""
    seen: set[str] = set()

    def spy(case: Any, array: Any) -> foreign.ForeignArray:
        seen.add(array)
        return foreign.ForeignArray(case, array)

    monkeypatch.setattr(mapped, "ForeignArray", spy)
    return seen


@pytest.mark.parametrize("verify", [True, False])
def test_boxes_inside_across_and_outside_read_as_zarr_reads_them(
    published: tuple[Dataset, Path], monkeypatch: pytest.MonkeyPatch, verify: bool
) -> None:
    dataset, folder = published
    by_zarr = foreign_arrays(monkeypatch)
    case = MappedCase(folder, "a", verify=verify)
    assert case.record == dataset.case("a").record
    assert_reads_like_zarr(dataset, case)
    assert not by_zarr


OURS: dict[str, Any] = {"filters": None, "compressors": (BloscCodec(), Crc32cCodec())}
FOREIGN: dict[str, tuple[str, dict[str, Any]]] = {
    "gzip": ("image", {"chunks": (10, 20, 20), "compressors": GzipCodec()}),
    "zstd in a shard": (
        "image",
        {"chunks": (10, 20, 20), "shards": (20, 40, 40), "compressors": ZstdCodec()},
    ),
    "several shards": ("phi", {"chunks": (10, 10, 10), "shards": (10, 20, 20)}),
    "big endian": ("image", {"serializer": BytesCodec(endian="big"), "chunks": (20, 40, 35)}),
    "big endian Φ in a shard": (
        "phi",
        {"serializer": BytesCodec(endian="big"), "chunks": (20, 20, 20), "shards": (20, 40, 40)},
    ),
    "one chunk without a codec": ("label", {"chunks": (20, 40, 35), "compressors": None}),
    "signed": ("label", {"chunks": (20, 20, 20), "shards": (20, 40, 40), "dtype": "int16", **OURS}),
    "one chunk for all positions in zstd": ("positions", {"compressors": ZstdCodec()}),
}


@pytest.mark.parametrize("how", FOREIGN)
def test_what_another_tool_wrote_reads_the_same(
    published: tuple[Dataset, Path], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    dataset, folder = published
    before, positions = MappedCase(folder, "a"), dataset.case("a").positions()
    array, layout = FOREIGN[how]
    rewrite(dataset, array, **layout)
    by_zarr = foreign_arrays(monkeypatch)
    case = MappedCase(folder, "a")
    assert_reads_like_zarr(dataset, case)
    assert by_zarr == {array} - {"positions"}
    for other in (before, case):
        assert_positions(other, positions)


def assert_positions(case: MappedCase, positions: dict[int, NDArray[Any]]) -> None:
    found = case.positions()
    assert list(found) == list(positions)
    for value, rows in positions.items():
        np.testing.assert_array_equal(found[value], rows)


@pytest.mark.parametrize(
    ("dtype", "channels"), [("uint8", 3), ("int16", 1), ("float32", None), ("float64", 2), ("uint32", 1)]
)
def test_images_of_any_type_and_with_channels(
    dataset: Dataset, maps: Maps, add_image: Callable[..., bool], dtype: str, channels: int | None
) -> None:
    maps.publish(dataset, "a", A)
    shape = maps.label.shape if channels is None else (channels, *maps.label.shape)
    add_image(dataset, "a", np.random.default_rng(0).integers(0, 250, shape).astype(dtype))
    assert_reads_like_zarr(dataset, MappedCase(dataset.path / "a", "a"))


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_labels_of_more_bytes(
    dataset: Dataset,
    maps: Maps,
    image: NDArray[Any],
    add_image: Callable[..., bool],
    monkeypatch: pytest.MonkeyPatch,
    dtype: str,
) -> None:
    label: Any = maps.label.astype(dtype)
    label[label == 0] = np.iinfo(dtype).max  # of no class: background
    by_zarr = foreign_arrays(monkeypatch)
    dataclasses.replace(maps, label=label).publish(dataset, "a", A)
    add_image(dataset, "a", image)
    assert_reads_like_zarr(dataset, MappedCase(dataset.path / "a", "a"))
    assert not by_zarr


def test_the_largest_label_is_a_class_like_any_other(tmp_path: Path, maps: Maps) -> None:
    largest = 2**32 - 1
    label: Any = maps.label.astype(np.uint32)
    label[label == 7] = largest
    regions = tuple(
        dataclasses.replace(region, value=largest if region.value == 7 else region.value)
        for region in maps.regions
    )
    dataset = Dataset.create(tmp_path / "large.zarr", MapSpec())
    dataclasses.replace(maps, label=label, regions=regions).publish(dataset, "a", A)
    out = np.empty(label.shape, np.int16)
    MappedCase(dataset.path / "a", "a").read_label((0, 0, 0), out, class_table((0, largest, 5)))
    np.testing.assert_array_equal(out, np.select([label == largest, label == 5], [1, 2], 0))


@pytest.mark.parametrize("by_zarr", [True, False])
@pytest.mark.parametrize(
    ("dtype", "mean"), [("int32", 2**24), ("uint32", 2**31), ("int64", -(2**33)), ("float64", 1e9)]
)
def test_a_large_mean_is_taken_off_before_anything_is_rounded(
    dataset: Dataset,
    maps: Maps,
    add_image: Callable[..., bool],
    monkeypatch: pytest.MonkeyPatch,
    dtype: str,
    mean: float,
    by_zarr: bool,
) -> None:
    maps.publish(dataset, "a", A)
    image = (mean + np.random.default_rng(0).integers(0, 50, maps.label.shape)).astype(dtype)
    add_image(dataset, "a", image)
    if by_zarr:
        monkeypatch.setattr(mapped, "functions", lambda: None)
    out, factor = np.empty((1, *image.shape), np.float32), 1 / image.std(keepdims=True).ravel()
    MappedCase(dataset.path / "a", "a").read_image((0, 0, 0), out, factor, -image.mean() * factor)
    np.testing.assert_allclose(out[0], (image - image.mean()) / image.std(), rtol=1e-6, atol=1e-6)


def test_where_no_library_exports_its_functions_zarr_reads_everything(
    published: tuple[Dataset, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, folder = published
    monkeypatch.setattr(mapped, "functions", lambda: None)
    by_zarr = foreign_arrays(monkeypatch)
    assert_reads_like_zarr(dataset, MappedCase(folder, "a"))
    assert by_zarr == {"image", "label", "phi"}


def test_class_indices_may_be_wider(published: tuple[Dataset, Path]) -> None:
    dataset, folder = published
    for found, wanted in zip(
        read(MappedCase(folder, "a"), *BOXES[1], kind=np.int32), expected(dataset, *BOXES[1]), strict=True
    ):
        np.testing.assert_array_equal(found, wanted)


def test_a_case_without_an_image_says_so(dataset: Dataset, maps: Maps) -> None:
    maps.publish(dataset, "a", A)
    with pytest.raises(NotFound, match="case 'a' has no image"):
        MappedCase(dataset.path / "a", "a").read_image((0, 0, 0), np.empty((1, 2, 2, 2), "f4"), *numbers(1))


@pytest.mark.parametrize("how", ["zarr", "store"])
def test_a_chunk_that_is_damaged_is_named_whoever_reads_it(
    published: tuple[Dataset, Path], tmp_path: Path, how: str
) -> None:
    dataset, folder = published
    if how == "zarr":
        rewrite(dataset, "image", chunks=(20, 40, 35))
    moved = tmp_path / "edition-7"  # a case may lie in a folder that is called otherwise
    shutil.move(folder, moved)
    path = moved / "image/0/c/0/0/0"
    case = MappedCase(moved, "a")
    content = bytearray(path.read_bytes())
    content[20:40] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(Damaged, match="case 'a': image"):
        case.read_image((0, 0, 0), np.empty((1, 20, 40, 35), "f4"), *numbers(1))


def test_what_was_opened_stays_what_it_was_when_the_case_is_replaced(
    published: tuple[Dataset, Path], other_maps: Maps
) -> None:
    dataset, folder = published
    case = MappedCase(folder, "a")
    before = expected(dataset, *BOXES[0])
    other_maps.publish(dataset, "a", B, replace=True)
    for found, wanted in zip(read(case, *BOXES[0]), before, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_case_that_is_replaced_while_it_is_opened_is_opened_as_one_edition(
    published: tuple[Dataset, Path], other_maps: Maps, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, folder = published
    editions = iter([(other_maps, B)])

    def replace_once(*arguments: Any) -> Any:
        for maps, sha256 in editions:
            maps.publish(dataset, "a", sha256, replace=True)
        return read_positions(*arguments)

    monkeypatch.setattr(mapped, "read_positions", replace_once)
    case = MappedCase(folder, "a")
    assert case.record.mask_sha256 == B
    assert_reads_like_zarr(dataset, case)
    assert_positions(case, dataset.case("a").positions())


def test_a_case_that_never_settles_says_so(
    published: tuple[Dataset, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = published
    node = folder / "zarr.json"
    monkeypatch.setattr(
        mapped, "known_sharding", lambda _: node.write_bytes(node.read_bytes() + b" ") and None
    )
    with pytest.raises(Superseded, match="case 'a'"):
        MappedCase(folder, "a")


def test_what_compiled_code_would_believe_is_checked_before(published: tuple[Dataset, Path]) -> None:
    case, sides = MappedCase(published[1], "a"), (4, 4, 4)
    image, phi, label = np.empty((1, *sides), "f4"), np.empty(sides, "f4"), np.zeros(sides, "i2")
    corner, table = (0, 0, 0), class_table(CLASSES)
    calls: list[Callable[[], None]] = [
        lambda: case.read_image(corner, np.empty((2, *sides), "f4"), *numbers(2)),
        lambda: case.read_image(corner, image, *numbers(2)),
        lambda: case.read_image(corner, image.astype("f8"), *numbers(1)),
        lambda: case.read_image(corner, image[0], *numbers(1)),
        lambda: case.read_label(corner, label[0], table),
        lambda: case.read_label(corner, label.astype("i8"), table),
        lambda: case.read_phi(corner, phi, label[:2], *numbers(3)),
        lambda: case.read_phi(corner, phi, label + np.int16(3), *numbers(3)),
        lambda: case.read_phi(corner, phi, label - np.int16(100), *numbers(3)),
        lambda: case.read_phi(corner, phi, label, numbers(3)[0], numbers(2)[1]),
        lambda: case.read_label((0, 0), label, table),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r".+"):
            call()


def test_classes_are_zero_first_and_each_once() -> None:
    table = class_table((0, 300, 70_000))
    labels = np.array([0, 1, 300, 70_000, 2**32 - 1], np.uint32)
    np.testing.assert_array_equal(table.indices(labels), [0, 0, 1, 2, 0])
    np.testing.assert_array_equal(table.lookup[labels[:3]], [0, 0, 1])
    assert class_table(range(40_000)).lookup.dtype == np.int32
    for wrong in ((), (5,), (0, 5, 5)):
        with pytest.raises(BadInput, match="classes"):
            class_table(wrong)


READ = """
import sys, numpy
from pathlib import Path
from dmapsvc.store import decode
from dmapsvc.store.classtable import class_table
from dmapsvc.store.mapped import MappedCase
from dmapsvc.store.positions import read_positions
out = numpy.empty((20, 40, 35), numpy.int16)
MappedCase(Path(sys.argv[1]), "a").read_label((0, 0, 0), out, class_table((0, 5, 7)))
print(out.sum(), sum(decode.read_label.stats.cache_hits.values()))
"""


def test_compiled_code_is_kept_for_the_next_process_and_made_anew_where_it_is_broken(
    published: tuple[Dataset, Path], tmp_path: Path
) -> None:
    caches = tmp_path / "caches"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(caches), "PYTHONPATH": os.pathsep.join(sys.path)}

    def run() -> list[str]:
        command = [sys.executable, "-c", READ, str(published[1])]
        run = subprocess.run(
            command, env=environment, cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return run.stdout.split()

    label = dmapsvc.open_dataset(published[0].path).case("a").read("label")
    indices = str(int((label == 5).sum() + 2 * (label == 7).sum()))
    assert run() == [indices, "0"]
    assert run() == [indices, "1"]
    for file in caches.rglob("*.nb?"):
        os.truncate(file, file.stat().st_size // 2)
    assert run() == [indices, "0"]
