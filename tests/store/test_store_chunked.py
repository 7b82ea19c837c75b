"""Boxes out of one mapped shard: the values that zarr reads, no damage unseen, the GIL released."""

from __future__ import annotations

import math
import multiprocessing
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core.errors import NumbaError
from numpy.typing import NDArray
from zarr.storage import LocalStore

from dmapsvc.errors import Damaged
from dmapsvc.store import chunked
from dmapsvc.store.classtable import class_table
from tests.store.chunked_arrays import open_array, overlap, whole, write_by_store, write_by_zarr

UNTOUCHED = -7
SHAPE = (20, 40, 35)
Triple = tuple[int, int, int]

lengths = st.tuples(*[st.integers(1, 37)] * 3)
sides = st.tuples(*[st.integers(1, 16)] * 3).filter(lambda sides: math.prod(sides) > 20)  # zarr is slow
corners = st.tuples(*[st.integers(-20, 40)] * 3)
packings = st.fixed_dictionaries(
    {
        "cname": st.sampled_from(["lz4hc", "lz4", "zstd", "blosclz", "zlib"]),
        "shuffle": st.sampled_from(["shuffle", "bitshuffle", "noshuffle"]),
        "clevel": st.integers(0, 3),
    }
)


def random_values(shape: tuple[int, ...], dtype: str, seed: int, below: int = 200) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, below, shape).astype(dtype)


@given(
    shape=lengths,
    channels=st.integers(1, 3),
    chunks=sides,
    box=lengths,
    corner=corners,
    dtype=st.sampled_from(["uint8", "int16", "float32"]),
    packing=packings,
    seed=st.integers(0, 99),
)
@settings(max_examples=25)
def test_a_box_of_an_image_is_what_zarr_reads_there(
    shape: Triple,
    channels: int,
    chunks: Triple,
    box: Triple,
    corner: Triple,
    dtype: str,
    packing: dict[str, Any],
    seed: int,
) -> None:
    values = random_values((channels, *shape), dtype, seed)
    factor, offset = np.random.default_rng(seed).normal(size=(2, channels)).astype(np.float32)
    out = np.full((channels, *box), UNTOUCHED, np.float32)
    expected = out.copy()
    with tempfile.TemporaryDirectory() as folder:
        write_by_zarr(Path(folder), values, (min(channels, 2), *chunks), **packing)
        open_array(Path(folder)).read_image(corner, out, factor, offset)
        in_box, in_volume = overlap(corner, box, shape)
        stored = np.asarray(zarr.open_array(LocalStore(folder), mode="r")[:, *in_volume], np.float32)
    expected[:, *in_box] = stored * factor.reshape(-1, 1, 1, 1) + offset.reshape(-1, 1, 1, 1)
    np.testing.assert_array_equal(out, expected)


@given(
    shape=lengths,
    chunks=sides,
    box=lengths,
    corner=corners,
    dtype=st.sampled_from(["uint8", "uint16", "uint32"]),
    kinds=st.integers(1, 60),
    seed=st.integers(0, 99),
)
@settings(max_examples=25)
def test_label_and_phi_of_a_box_are_those_of_its_voxels(
    shape: Triple, chunks: Triple, box: Triple, corner: Triple, dtype: str, kinds: int, seed: int
) -> None:
    labels = random_values(shape, dtype, seed, below=kinds)
    largest = int(np.iinfo(labels.dtype).max)
    labels[labels == 5] = largest
    labels[: shape[0] // 2] = 3  # rows of one label, too
    stored = random_values(shape, "uint16", seed, below=65_536)
    classes = (0, 3, 1, 40, largest)
    factor, offset = np.random.default_rng(seed).normal(size=(2, len(classes))).astype(np.float32)
    out, phi = np.full(box, UNTOUCHED, np.int16), np.full(box, UNTOUCHED, np.float32)
    with tempfile.TemporaryDirectory() as folder:
        write_by_zarr(Path(folder, "label"), labels, chunks)
        write_by_zarr(Path(folder, "phi"), stored, chunks)
        open_array(Path(folder, "label")).read_label(corner, out, class_table(classes))
        open_array(Path(folder, "phi")).read_phi(corner, phi, out, factor, offset)
    in_box, in_volume = overlap(corner, box, shape)
    index = np.select([labels[in_volume] == value for value in classes], range(len(classes)), 0)
    expected, expected_phi = np.full(box, UNTOUCHED, np.int16), np.full(box, UNTOUCHED, np.float32)
    expected[in_box] = index
    expected_phi[in_box] = stored[in_volume].astype(np.float32) * factor[index] + offset[index]
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(phi, expected_phi)


def test_a_box_may_lie_in_memory_as_it_likes(tmp_path: Path) -> None:
    values = random_values(SHAPE, "int16", 0)
    write_by_store(tmp_path, values)
    memory = np.full((50, 30, 2, 20), UNTOUCHED, np.float32)
    out = memory.transpose(2, 3, 1, 0)[1:]
    open_array(tmp_path).read_image((-2, 15, 30), out, np.ones(1, np.float32), np.zeros(1, np.float32))
    expected = np.full(out.shape, UNTOUCHED, np.float32)
    expected[0, 2:, :25, :5] = values[:18, 15:, 30:]
    np.testing.assert_array_equal(out, expected)
    assert (memory[:, :, 0] == UNTOUCHED).all()


@pytest.mark.parametrize("seed", range(3))
def test_every_flipped_bit_is_found(tmp_path: Path, seed: int) -> None:
    path = write_by_store(tmp_path, random_values(SHAPE, "int16", seed))
    sound = path.read_bytes()
    random = np.random.default_rng(seed)
    ends = {*range(40), *range(len(sound) - 72, len(sound))}  # a header; the index and its checksum
    for place in sorted(ends | {int(place) for place in random.integers(0, len(sound), 150)}):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(
            Damaged, match=r"case 'a': image: (chunk \d|the shard's index) fails its checksum"
        ):
            whole(open_array(tmp_path), (1, *SHAPE))


def test_a_chunk_that_no_box_touches_is_not_looked_at(tmp_path: Path) -> None:
    path = write_by_store(tmp_path, random_values(SHAPE, "int16", 0))
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    array, out, one = open_array(tmp_path), np.empty((1, 20, 8, 3), np.float32), np.ones(1, np.float32)
    array.read_image((0, 32, 32), out, one, one)
    with pytest.raises(Damaged, match="chunk 0 "):
        array.read_image((0, 31, 31), out, one, one)


@pytest.mark.parametrize("left", [0, 3, 19, 67, 68, 500, -1])
def test_a_shard_that_is_cut_off_says_so(tmp_path: Path, left: int) -> None:
    path = write_by_store(tmp_path, random_values(SHAPE, "int16", 0))
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(Damaged, match="case 'a': image: the shard's index fails its checksum"):
        open_array(tmp_path)


def test_a_shard_that_is_missing_or_not_filled_by_its_chunks_says_so(tmp_path: Path) -> None:
    path = write_by_store(tmp_path, random_values(SHAPE, "int16", 0))
    path.write_bytes(b"more" + path.read_bytes())
    with pytest.raises(Damaged, match="case 'a': image: the shard's chunks do not fill its file"):
        open_array(tmp_path)
    path.unlink()
    with pytest.raises(Damaged, match="case 'a': image: its shard is missing"):
        open_array(tmp_path)


def test_a_chunk_that_was_left_out_as_empty_is_damage_not_zeros(tmp_path: Path) -> None:
    values = np.zeros(SHAPE, np.int16)
    values[:, :32, :32] = 1
    write_by_zarr(tmp_path, values, (20, 32, 32))
    with zarr.config.set({"array.write_empty_chunks": False}):
        zarr.open_array(LocalStore(tmp_path), mode="r+")[...] = values
    with pytest.raises(Damaged, match="case 'a': image: chunk 1 is not there"):
        open_array(tmp_path)


def test_threads_share_an_array(tmp_path: Path) -> None:
    values = random_values((1, 64, 64, 64), "int16", 0)
    write_by_store(tmp_path, values)
    array = open_array(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: whole(array, values.shape), range(20)):
            np.testing.assert_array_equal(found, values)


def test_others_run_while_chunks_are_decoded(tmp_path: Path) -> None:
    values = random_values((1, 96, 96, 96), "int16", 0)
    write_by_store(tmp_path, values)
    array, out, one = open_array(tmp_path), np.empty(values.shape, np.float32), np.ones(1, np.float32)
    array.read_image((0, 0, 0), out, one, one)
    go, ran = threading.Lock(), threading.Event()
    go.acquire()

    def run() -> None:
        with go:
            ran.set()

    thread, interval = threading.Thread(target=run), sys.getswitchinterval()
    thread.start()
    sys.setswitchinterval(1000)  # seconds: Python takes the GIL from no one meanwhile
    try:
        go.release()
        for _ in range(500):
            array.read_image((0, 0, 0), out, one, one)
            if ran.is_set():
                break
        assert ran.is_set()
    finally:
        sys.setswitchinterval(interval)
        thread.join()


IMAGE, NUMBERS = (np.dtype(np.float32), 4), (np.dtype(np.float32), 1)


def test_a_kernel_that_does_not_compile_is_no_fault_of_the_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chunked, "reload", lambda module: pytest.fail("reloaded"))
    with pytest.raises(NumbaError):
        chunked.prepare("read_image", np.dtype(np.int16), IMAGE, IMAGE, IMAGE)


def test_threads_that_find_the_disk_no_good_reload_once_and_one_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    busy, reloaded = threading.Lock(), threading.Event()

    def run(*arguments: Any) -> None:
        assert busy.acquire(blocking=False)
        time.sleep(0.01)
        busy.release()
        if not reloaded.is_set():
            raise EOFError("cut off")

    def reload(module: Any) -> None:
        assert not reloaded.is_set()
        reloaded.set()

    monkeypatch.setattr(chunked, "_run_on_nothing", run)
    monkeypatch.setattr(chunked, "reload", reload)
    with ThreadPoolExecutor(4) as pool:
        kinds = [np.dtype(f"S{size}") for size in range(1, 5)]  # of no kernel: prepared nowhere else
        list(pool.map(lambda kind: chunked.prepare("read_label", kind, IMAGE, NUMBERS), kinds))
    assert reloaded.is_set()
    chunked.prepare.cache_clear()


def read_garbage(folder: Path) -> None:
    """Read damaged chunks without looking at their checksums, into a box between others."""
    random, one = np.random.default_rng(0), np.ones(1, np.float32)
    memory = np.full((3, *SHAPE), UNTOUCHED, np.float32)
    found = 0
    for cname in ("lz4hc", "zstd", "blosclz", "zlib"):
        values = random_values(SHAPE, "int16", 0)
        path = write_by_zarr(folder, values, (20, 32, 32), cname=cname, shuffle="bitshuffle")
        sound = path.read_bytes()
        payloads = len(sound) - 4 * 16 - 4
        for attempt in range(300):
            damaged = bytearray(sound)
            start = 0 if attempt % 2 else int(random.integers(payloads - 40))  # a header, or anywhere
            for place in start + random.integers(0, 40, 1 + attempt % 3):
                damaged[place] = random.integers(256)
            path.write_bytes(damaged)
            try:
                open_array(folder, verify=False).read_image((0, 0, 0), memory[1:2], one, one)
            except Damaged as error:
                found += "does not decode" in error.found
    assert found
    assert (memory[[0, 2]] == UNTOUCHED).all()


def test_without_checksums_garbage_gives_wrong_values_or_an_error_and_no_crash(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=read_garbage, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == 0
