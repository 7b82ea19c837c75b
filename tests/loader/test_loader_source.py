"""Opening a dataset by its place, and reading it by zarr from wherever it lies."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from dmapsvc.cli import main
from dmapsvc.errors import BadInput, Damaged, NotFound, ServerProblem, ServerUnreachable, Superseded
from dmapsvc.loader.source import open_dataset, open_source
from dmapsvc.store import Dataset
from tests.loader.origin_server import OriginServer


@pytest.fixture
def server(knees: Path) -> Iterator[OriginServer]:
    with OriginServer(knees.parent) as server:
        yield server


def test_a_url_reads_what_the_folder_reads(knees: Path, server: OriginServer) -> None:
    local, remote = open_dataset(str(knees)), open_dataset(server.url("knees"))
    assert remote.cases() == local.cases() == ["a", "b"]
    assert (remote.spec, remote.names) == (local.spec, local.names)
    for case in "ab":
        one, other = local.case(case), remote.case(case)
        assert one.record == other.record
        assert np.array_equal(one.phi_values(), other.phi_values())
        assert np.array_equal(
            one.read("label", np.s_[3:9, 1:20, 7]), other.read("label", np.s_[3:9, 1:20, 7])
        )
        rows, there = one.positions(), other.positions()
        assert rows.keys() == there.keys()
        assert all(np.array_equal(rows[value], there[value]) for value in rows)


def test_a_folder_and_a_url_are_sources_of_the_same_cases(knees: Path, server: OriginServer) -> None:
    local, remote = open_source(knees), open_source(server.url("knees"))
    assert (local.name, local.spec, local.names) == (remote.name, remote.spec, remote.names)
    assert local.cases() == remote.cases()
    for case in "ab":
        assert local.record(case) == remote.record(case)
        assert local.folder(case) == knees / case
        assert (remote.folder(case) / "zarr.json").read_bytes() == (knees / case / "zarr.json").read_bytes()


def test_an_array_is_sent_once_and_only_if_it_is_read(server: OriginServer) -> None:
    for _ in range(2):
        case = open_dataset(server.url("knees")).case("a")
        for corner in (0, 4, 8):
            case.phi_values(np.s_[corner : corner + 4])
    assert list(server.arrays_sent()) == ["a/phi/0/c/0/0/0"]
    assert server.asked["/zarr/knees.zarr/a/phi/0/c/0/0/0"] == 1


def test_a_case_that_is_replaced_is_read_anew_and_never_mixed(
    knees: Path, server: OriginServer, publish: Callable[..., None], two_bones: Any
) -> None:
    labels, image = two_bones((40, 36, 44), 1)
    dataset = open_dataset(server.url("knees"))
    opened = dataset.case("a")
    assert np.array_equal(opened.read("label"), labels)
    publish(Dataset(knees), "a", labels + (labels > 0), image, "9" * 64, revision=2, replace=True)
    with pytest.raises(Superseded, match="case 'a'"):
        opened.read("phi")
    with pytest.raises(Superseded, match="case 'a'"):
        opened.read("label")
    assert np.array_equal(dataset.case("a").read("label"), labels + (labels > 0))


def test_a_shard_the_server_lacks_is_damage_not_zeros(knees: Path, server: OriginServer) -> None:
    (knees / "a/phi/0/c/0/0/0").unlink()
    case = open_dataset(server.url("knees")).case("a")
    with pytest.raises(Damaged, match="case 'a': phi"):
        case.phi_values()


def test_a_server_that_fails_later_is_told_in_one_line(server: OriginServer) -> None:
    case = open_dataset(server.url("knees"), patience=0).case("a")
    server.gone = True
    with pytest.raises(ServerUnreachable, match=r"/zarr/knees\.zarr/a/.*: 502"):
        case.phi_values()


def test_opening_needs_no_torch() -> None:
    check = (
        "import sys, dmapsvc.loader.source, dmapsvc.loader.remote.mirror; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


@pytest.mark.parametrize("open_it", [open_dataset, open_source])
def test_what_is_no_dataset_is_refused(
    open_it: Callable[[Any], object], tmp_path: Path, server: OriginServer
) -> None:
    with pytest.raises(NotFound, match="elsewhere"):
        open_it(tmp_path / "elsewhere.zarr")
    (tmp_path / "plain").mkdir()
    with pytest.raises(NotFound, match="plain"):
        open_it(tmp_path / "plain")
    with pytest.raises(ServerProblem, match="bones"):
        open_it(server.url("bones"))
    with pytest.raises(BadInput, match=r"/v1/datasets/knees"):
        open_it(f"{server.server}/knees")
    with pytest.raises(BadInput, match=r"Open .*/v1/datasets/knees\."):
        open_it(f"{server.url('knees')}/cases/a")
    with pytest.raises(ServerUnreachable):
        open_it("http://127.0.0.1:9/v1/datasets/knees")


def test_info_by_url_fetches_no_array_and_view_only_what_it_draws(
    server: OriginServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", server.url("knees")]) == 0
    assert main(["info", server.url("knees"), "a", "--json"]) == 0
    assert server.arrays_sent() == {}
    assert capsys.readouterr().err == ""
    assert main(["view", server.url("knees"), "a", "-o", str(tmp_path / "a.png")]) == 0
    assert sorted(key.split("/")[1] for key in server.arrays_sent()) == ["image", "label", "phi"]


def test_the_store_of_a_url_gives_zarr_the_ranges_it_asks_for(knees: Path, server: OriginServer) -> None:
    from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    from dmapsvc.loader.remote.mirror import Mirror
    from dmapsvc.loader.remote.mirrored import MirroredFiles

    files = MirroredFiles(Mirror(server.url("knees")))
    for key in ("a/phi/0/c/0/0/0", "a/zarr.json", "zarr.json"):
        content = (knees / key).read_bytes()
        for wanted, expected in (
            (None, content),
            (RangeByteRequest(3, 50), content[3:50]),
            (OffsetByteRequest(40), content[40:]),
            (SuffixByteRequest(20), content[-20:]),
            (SuffixByteRequest(10**9), content),
        ):
            found = sync(files.get(key, default_buffer_prototype(), wanted))
            assert found is not None
            assert found.to_bytes() == expected
    assert sync(files.get("c/zarr.json", default_buffer_prototype())) is None
    with pytest.raises(ValueError, match="read-only"):
        zarr.create_group(files)
