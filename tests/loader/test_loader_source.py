from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore, MemoryStore

from dmapsvc.errors import BadInput, Damaged, NotFound, ServerProblem, ServerUnreachable
from dmapsvc.loader.batches import batches
from dmapsvc.loader.cache import WholeFiles
from dmapsvc.loader.patches import PatchDataset
from dmapsvc.loader.source import open_dataset
from dmapsvc.spec import MapSpec
from dmapsvc.store import Dataset


class Service:
    """What a loader needs of the service, over a folder of datasets; counts what it sends."""

    def __init__(self, folder: Path) -> None:
        self.sent: Counter[str] = Counter()
        self.gone = False
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, kind, body = service.answer(folder, self.path.partition("?")[0])
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, folder: Path, path: str) -> tuple[int, str, bytes]:
        self.sent[path] += 1
        if self.gone:
            return 500, "text/plain", b""
        if path.startswith("/zarr/"):
            file = folder / path.removeprefix("/zarr/")
            found = file.is_file()
            return (200 if found else 404), "application/octet-stream", file.read_bytes() if found else b""
        name = path.split("/")[3]
        if not (folder / f"{name}.zarr").is_dir():
            problem = {"type": "/problems/not-found", "title": "", "status": 404, "detail": f"no {name!r}"}
            return 404, "application/problem+json", json.dumps(problem).encode()
        dataset = Dataset.open(folder / f"{name}.zarr")
        answer: dict[str, object] = {"name": name, "spec": dataset.spec.to_json(), "names": {}}
        if path.endswith("/cases"):
            answer = {"cases": dataset.cases(), "next": None}
        return 200, "application/json", json.dumps(answer).encode()


@pytest.fixture
def service(knees: Path) -> Iterator[Service]:
    service = Service(knees.parent)
    thread = threading.Thread(target=service.server.serve_forever)
    thread.start()
    yield service
    service.server.shutdown()
    thread.join()
    service.server.server_close()


def test_a_url_reads_what_the_folder_reads(knees: Path, service: Service) -> None:
    local, remote = open_dataset(str(knees)), open_dataset(f"{service.url}/v1/datasets/knees")
    assert remote.cases() == local.cases() == ["a", "b"]
    assert (remote.spec, remote.names) == (local.spec, local.names)
    for case in "ab":
        assert remote.case(case).record == local.case(case).record
        assert np.array_equal(remote.case(case).phi_values(), local.case(case).phi_values())


@pytest.mark.parametrize("workers", [0, 2])
def test_patches_stream_from_the_url(knees: Path, service: Service, workers: int) -> None:
    here = PatchDataset(knees, patch=(16, 16, 16), seed=4)
    there = PatchDataset(f"{service.url}/v1/datasets/knees/", patch=(16, 16, 16), seed=4)
    for one, other in islice(
        zip(batches(here, size=2, workers=workers), batches(there, size=2, workers=workers), strict=True), 6
    ):
        assert one["case"] == other["case"]
        assert all(torch.equal(one[key], other[key]) for key in ("image", "label", "phi"))


def test_each_shard_is_sent_once(service: Service) -> None:
    patches = PatchDataset(f"{service.url}/v1/datasets/knees", patch=(8, 8, 8))
    assert len(list(islice(patches, 20))) == 20
    shards = {path: times for path, times in service.sent.items() if "/c/" in path}
    assert len(shards) == 6
    assert set(shards.values()) == {1}


@pytest.mark.parametrize("by_url", [False, True])
def test_a_case_that_is_replaced_is_read_anew_and_never_mixed(
    service: Service, make_dataset: Callable[..., Path], publish: Callable[..., None], by_url: bool
) -> None:
    def case(value: int) -> tuple[Any, Any]:
        labels = np.zeros((32, 32, 32), dtype=np.uint8)
        labels[:, :, : 10 * value] = value
        return labels, labels * np.float32(50)

    folder = make_dataset({"a": case(1)}, MapSpec(labels=(1, 2)), name="turned")
    location = f"{service.url}/v1/datasets/turned" if by_url else folder
    patches = iter(PatchDataset(location, patch=(32, 32, 32)))
    seen = []
    for number in range(4):
        if number == 2:
            publish(Dataset.open(folder), "a", *case(2), sha256="2" * 64, revision=2, replace=True)
        seen.append(next(patches))
    assert [int(patch["label"].max()) for patch in seen] == [1, 1, 2, 2]
    for patch, width in zip(seen, (10, 10, 20, 20), strict=True):
        assert torch.equal(patch["label"] > 0, torch.arange(32).expand(32, 32, 32) < width)
        assert torch.equal(patch["label"] > 0, patch["image"][0] > 0)
        assert patch["phi"][0, 0].argmax() in (width - 1, width)  # Φ is largest where the label ends


def test_a_shard_the_server_lacks_is_damage_not_zeros(knees: Path, service: Service) -> None:
    for shard in (knees / "a" / "phi" / "0" / "c").rglob("*"):
        if shard.is_file():
            shard.unlink()
    case = open_dataset(f"{service.url}/v1/datasets/knees").case("a")
    with pytest.raises(Damaged, match="case 'a': phi"):
        case.phi_values()


def test_a_server_that_fails_later_is_told_in_one_line(service: Service) -> None:
    case = open_dataset(f"{service.url}/v1/datasets/knees").case("a")
    service.gone = True
    with pytest.raises(ServerUnreachable, match=r"/zarr/knees\.zarr/a/.*: 500"):
        case.phi_values()


def test_opening_needs_no_torch() -> None:
    check = "import sys, dmapsvc.loader.source; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_what_is_no_dataset_is_refused(tmp_path: Path, service: Service) -> None:
    with pytest.raises(NotFound, match="elsewhere"):
        open_dataset(tmp_path / "elsewhere.zarr")
    (tmp_path / "plain").mkdir()
    with pytest.raises(NotFound, match="plain"):
        open_dataset(tmp_path / "plain")
    with pytest.raises(ServerProblem, match="bones"):
        open_dataset(f"{service.url}/v1/datasets/bones")
    with pytest.raises(BadInput, match=r"/v1/datasets/knees"):
        open_dataset(f"{service.url}/knees")
    with pytest.raises(ServerUnreachable):
        open_dataset("http://127.0.0.1:9/v1/datasets/knees")


def test_the_cache_keeps_to_its_limit_and_slices_like_the_store(tmp_path: Path) -> None:
    source = MemoryStore()
    group = zarr.create_group(source)
    shards = {}
    for name in "abc":
        array = group.create_array(name, shape=(64, 64), shards=(64, 64), chunks=(16, 16), dtype="f4")
        shards[name] = np.random.default_rng(ord(name)).random((64, 64), dtype=np.float32)
        array[...] = shards[name]
    size = len(sync(source.get("a/c/0/0", default_buffer_prototype())) or b"")
    cached = WholeFiles(source, limit=2 * size + 100)
    reading = zarr.open_group(cached, mode="r")
    for name in "abcabc":
        found = reading[name]
        assert isinstance(found, zarr.Array)
        assert np.array_equal(found[3:40, 20:64], shards[name][3:40, 20:64])
        assert sum(len(file) for file in cached._shards.values()) <= 2 * size + 100
    assert list(cached._shards) == ["b/c/0/0", "c/c/0/0"]
    assert LocalStore(tmp_path) != cached
