"""Reading through any zarr store: a folder, another process, plain HTTP."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore, LocalStore, WrapperStore

from dmapsvc.errors import Damaged, NotFound, Superseded
from dmapsvc.store import Dataset, Reader

if TYPE_CHECKING:
    from tests.store.conftest import Maps

A, B = "a" * 64, "b" * 64


class _Quiet(SimpleHTTPRequestHandler):
    """Serves files, with the byte ranges that a shard is read by."""

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        if wanted is None:
            super().do_GET()
            return
        try:
            with open(self.translate_path(self.path), "rb") as file:  # noqa: PTH123
                content = file.read()
        except OSError:
            self.send_error(404)
            return
        first, last = wanted.removeprefix("bytes=").split("-")
        start = int(first) if first else max(0, len(content) - int(last))
        stop = min(int(last) + 1, len(content)) if first and last else len(content)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        self.wfile.write(content[start:stop])


@pytest.fixture
def url(dataset: Dataset) -> Iterator[str]:
    """Where the dataset is served as plain files."""
    handler = partial(_Quiet, directory=str(dataset.path.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/{dataset.path.name}"
        server.shutdown()
        thread.join()


def test_a_dataset_reads_over_plain_http(
    dataset: Dataset, maps: Maps, image: NDArray[Any], add_image: Callable[..., bool], url: str
) -> None:
    maps.publish(dataset, "a", A)
    add_image(dataset, "a", image)
    reader = Reader(FsspecStore.from_url(url, read_only=True), ["a"], name="knees")
    assert (reader.spec, reader.names, reader.cases()) == (dataset.spec, dataset.names, ["a"])
    case = reader.case("a")
    assert case.record == dataset.case("a").record
    np.testing.assert_array_equal(case.read("label"), maps.label)
    np.testing.assert_array_equal(case.read("image", (slice(2, 9), ..., 4)), image[2:9, ..., 4])
    np.testing.assert_array_equal(case.phi_values(), dataset.case("a").phi_values())


def test_what_is_missing_over_http_is_said_and_never_zeros(dataset: Dataset, maps: Maps, url: str) -> None:
    maps.publish(dataset, "a", A)
    reader = Reader(FsspecStore.from_url(url, read_only=True), ["a", "b"])
    with pytest.raises(NotFound, match="'b'"):
        reader.case("b")
    (dataset.path / "a/phi/0/c/0/0/0").unlink()
    with pytest.raises(Damaged, match="case 'a': phi"):
        reader.case("a").phi_values()
    with pytest.raises(NotFound):
        Reader(FsspecStore.from_url(f"{url}.none", read_only=True), [])


def test_reading_a_case_that_was_replaced_or_deleted_says_so(
    dataset: Dataset, maps: Maps, other_maps: Maps
) -> None:
    maps.publish(dataset, "a", A)
    opened = dataset.case("a")
    other_maps.publish(dataset, "a", B, replace=True)
    with pytest.raises(Superseded, match="'a'"):
        opened.phi_values()
    again = dataset.case("a")
    dataset.delete("a")
    with pytest.raises(Superseded, match="'a'"):
        again.phi_values()


def test_what_was_opened_goes_on_when_an_image_is_added_or_replaced(
    dataset: Dataset, maps: Maps, image: NDArray[Any], add_image: Callable[..., bool]
) -> None:
    maps.publish(dataset, "a", A)
    opened = dataset.case("a")
    phi = opened.phi_values()
    for values, sha256 in ((image, "i" * 64), (image + 1, "j" * 64)):
        add_image(dataset, "a", values, sha256=sha256)
        np.testing.assert_array_equal(opened.read("label"), maps.label)
        np.testing.assert_array_equal(opened.phi_values(), phi)


def test_an_image_that_was_replaced_says_so_and_one_that_stayed_goes_on(
    dataset: Dataset, maps: Maps, other_maps: Maps, image: NDArray[Any], add_image: Callable[..., bool]
) -> None:
    maps.publish(dataset, "a", A)
    add_image(dataset, "a", image)
    opened = dataset.case("a")
    other_maps.publish(dataset, "a", B, replace=True)
    np.testing.assert_array_equal(opened.read("image"), image)
    with pytest.raises(Superseded):
        opened.read("label")
    add_image(dataset, "a", image + 1, sha256="j" * 64)
    with pytest.raises(Superseded, match="'a'"):
        opened.read("image")


def test_a_later_revision_of_the_same_mask_supersedes_what_was_opened(dataset: Dataset, maps: Maps) -> None:
    maps.publish(dataset, "a", A)
    opened = dataset.case("a")
    maps.publish(dataset, "a", A, revision=2)
    for array in ("label", "phi"):
        with pytest.raises(Superseded):
            opened.read(array)


@pytest.mark.parametrize("away", ["phi/0/c/0/0/0", "zarr.json"])
def test_a_case_that_is_away_for_the_moment_of_a_swap_is_read_all_the_same(
    dataset: Dataset, maps: Maps, away: str
) -> None:
    maps.publish(dataset, "a", A)
    hidden: list[str] = []

    class Blinking(WrapperStore[LocalStore]):
        async def get(
            self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
        ) -> Buffer | None:
            if key in hidden:
                hidden.remove(key)
                return None
            return await super().get(key, prototype, byte_range)

    case = Reader(Blinking(LocalStore(dataset.path, read_only=True)), ["a"]).case("a")
    phi = case.phi_values()
    hidden.append(f"a/{away}")
    np.testing.assert_array_equal(case.phi_values(), phi)
    assert hidden == []


def test_a_reader_and_a_case_travel_to_other_processes(dataset: Dataset, maps: Maps) -> None:
    maps.publish(dataset, "a", A)
    for thing in (Reader.local(dataset.path), dataset):
        case = pickle.loads(pickle.dumps(thing)).case("a")
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(case)).read("label"), maps.label)


def test_only_whole_cases_are_listed(dataset: Dataset, maps: Maps) -> None:
    for case in ("b", "a", "a.b"):
        maps.publish(dataset, case, A)
    (dataset.path / "half").mkdir()
    assert dataset.cases() == Reader.local(dataset.path).cases() == ["a", "a.b", "b"]
    assert "half" not in dataset
    assert "a" in Reader.local(dataset.path)
    with pytest.raises(NotFound, match="'half'"):
        dataset.case("half")


def test_a_case_without_an_image_says_so(dataset: Dataset, maps: Maps) -> None:
    maps.publish(dataset, "a", A)
    assert dataset.case("a").image is None
    with pytest.raises(NotFound, match="no image"):
        dataset.case("a").read("image")
