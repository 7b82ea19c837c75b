"""A dataset in a bucket, served by moto on a real socket."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from obstore.store import S3Store

from dmapsvc.errors import BadInput, NotFound, ServerUnreachable
from dmapsvc.loader.remote.mirror import Mirror
from dmapsvc.loader.remote.origin import open_origin
from dmapsvc.loader.source import open_dataset, open_source
from dmapsvc.store import Dataset
from dmapsvc.store.mapped import MappedCase
from tests.store import shelf

URL = "s3://shelf/lab/knees.zarr"
PHI = "lab/knees.zarr/a/phi/0/c/0/0/0"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with shelf.moto() as url:
        yield url


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    shelf.use(monkeypatch, endpoint, "shelf")
    return S3Store("shelf", client_options={"allow_http": True})


@pytest.fixture
def shelved(bucket: S3Store, knees: Path) -> Path:
    """The dataset whose files are in the bucket, as any tool copies them there."""
    upload(bucket, knees)
    return knees


def upload(bucket: S3Store, folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            key = f"lab/{folder.name}/{path.relative_to(folder).as_posix()}"
            bucket.put(key, path.read_bytes())


def test_a_bucket_is_a_source_of_cases(shelved: Path, bucket: S3Store) -> None:
    bucket.put("lab/knees.zarr/coming/phi/zarr.json", b"{}")
    source, here = open_source(URL), Dataset(shelved)
    assert source.cases() == ["a", "b"]  # and none that is being copied there
    assert (source.name, source.spec, source.names) == (here.name, here.spec, here.names)
    for case in "ab":
        assert source.record(case) == here.record(case)
        folder = source.folder(case)
        assert MappedCase(folder, case).record == here.record(case)
        for path in (shelved / case).rglob("c/**/*"):
            assert (
                path.is_dir() or path.read_bytes() == (folder / path.relative_to(shelved / case)).read_bytes()
            )


def test_zarr_reads_a_bucket(shelved: Path) -> None:
    there, here = open_dataset(URL), open_dataset(shelved)
    assert there.cases() == here.cases()
    assert np.array_equal(there.case("b").phi_values(), here.case("b").phi_values())


def test_a_file_goes_on_where_it_was_unless_it_is_another(shelved: Path, bucket: S3Store) -> None:
    origin, content = open_origin(URL), (shelved / "a/phi/0/c/0/0/0").read_bytes()
    key = PHI.removeprefix("lab/knees.zarr/")
    with origin.part(key, 0, None) as part:
        assert part is not None
        tag = part.tag
        assert (part.begin, part.size, b"".join(part.blocks)) == (0, len(content), content)
    with origin.part(key, 1000, tag) as part:
        assert part is not None
        assert (part.begin, part.size, part.tag) == (1000, len(content), tag)
        assert b"".join(part.blocks) == content[1000:]
    bucket.put(PHI, content[::-1])
    with origin.part(key, 1000, tag) as part:
        assert part is not None
        assert (part.begin, b"".join(part.blocks)) == (0, content[::-1])
    with origin.part("a/nothing", 0, None) as part:
        assert part is None
    assert origin.read("a/nothing") is None


def test_what_is_no_dataset_in_a_bucket_is_told(bucket: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFound, match="'hips'"):
        Mirror("s3://shelf/lab/hips.zarr")
    with pytest.raises(ServerUnreachable, match=r"s3://attic/knees.zarr: .*404.*AWS_ENDPOINT_URL"):
        Mirror("s3://attic/knees.zarr")
    for url in ("s3://shelf", "s3://shelf/lab/knees", "s3:///knees.zarr"):
        with pytest.raises(BadInput, match=r"s3://bucket/prefix/knees\.zarr"):
            Mirror(url)
    with pytest.raises(BadInput, match="ftp://"):
        Mirror("ftp://host/knees.zarr")
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(BadInput, match=r"Install dmapsvc\[s3\]"):
        Mirror(URL)


def test_a_forked_process_is_told_instead_of_hanging(shelved: Path) -> None:
    context = multiprocessing.get_context("fork")
    said = context.Queue()

    def child() -> None:
        try:
            mirror.folder("b")
        except BadInput as error:
            said.put(str(error))

    mirror = Mirror(URL)
    mirror.folder("a")
    process = context.Process(target=child)
    process.start()
    assert 'multiprocessing_context="spawn"' in said.get(timeout=30)
    process.join()


def test_a_store_that_is_away_is_told(bucket: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(ServerUnreachable, match="error sending request"):
        Mirror(URL)
