"""The store over HTTP: what zarr reads, byte ranges, and what is never reached."""

from __future__ import annotations

import re
import socket
from typing import Any

import httpx
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from api.problems import RangeNotSatisfiable
from api.zarr import byte_range
from tests.api.bodies import SPACING, nifti, two_balls
from tests.api.talk import Talk, assert_problem


@pytest.fixture(scope="module")
def knees(whole: object) -> str:
    """A published case `a` in mm; the name of its dataset."""
    from demo.service import Service

    assert isinstance(whole, Service)
    with httpx.Client(base_url=whole.url, trust_env=False) as http:
        talk = Talk(http, whole)
        name = talk.dataset()
        talk.publish(f"{name}/a/mask", nifti(two_balls()), units="mm", labels="5,6")
    return name


def reference(labels: NDArray[np.uint8], spacing: tuple[float, float, float]) -> NDArray[np.float64]:
    """Φ by its definition, region by region, in float64."""
    phi = np.zeros(labels.shape)
    for value in np.unique(labels):
        inside = labels == value
        distance = ndimage.distance_transform_edt(inside, sampling=spacing)
        phi[inside] = distance.max() - distance[inside]
    return phi


def test_zarr_reads_phi_by_url(work: Talk, knees: str) -> None:
    group = zarr.open_group(f"{work.service.url}/zarr/{knees}.zarr", mode="r")
    phi = group["a/phi/0"]
    assert isinstance(phi, zarr.Array)
    attributes: dict[str, Any] = dict(phi.attrs)
    values: NDArray[np.float64] = np.asarray(phi[:]) * attributes["scale_factor"] + attributes["add_offset"]
    expected = reference(two_balls(), SPACING)
    assert np.abs(values - expected).max() <= 0.01 * min(SPACING)
    label = group["a/label/0"]
    assert isinstance(label, zarr.Array)
    np.testing.assert_array_equal(np.asarray(label[:]), two_balls())


def shard_of(talk: Talk, knees: str) -> tuple[str, bytes]:
    folder = talk.service.data / "store" / f"{knees}.zarr"
    path = next(path for path in folder.rglob("c/*/*/*") if "phi" in path.parts)
    return f"/zarr/{path.relative_to(folder.parent)}", path.read_bytes()


def test_byte_ranges_of_a_shard(work: Talk, knees: str) -> None:
    address, whole = shard_of(work, knees)
    size = len(whole)
    for text, part in (
        ("bytes=0-9", whole[:10]),
        ("bytes=7-", whole[7:]),
        ("bytes=-16", whole[-16:]),
        (f"bytes=5-{size + 100}", whole[5:]),
        (f"bytes=-{size + 100}", whole),
    ):
        answer = work.http.get(address, headers={"range": text})
        assert (answer.status_code, answer.content) == (206, part), text
        begin = size - len(part) if text.startswith(("bytes=-", "bytes=7", "bytes=5")) else 0
        assert answer.headers["content-range"] == f"bytes {begin}-{begin + len(part) - 1}/{size}"
    for ignored in ("lines=1-2", "bytes=9-3", "bytes=a-b", "bytes=0-1,3-4", "bytes=-"):
        answer = work.http.get(address, headers={"range": ignored})
        assert (answer.status_code, answer.content) == (200, whole), ignored
    for text in (f"bytes={size}-", "bytes=-0"):
        answer = work.http.get(address, headers={"range": text})
        assert_problem(answer, 416, str(size))
        assert answer.headers["content-range"] == f"bytes */{size}"


def test_head_says_what_get_would(work: Talk, knees: str) -> None:
    address, whole = shard_of(work, knees)
    for fields in ({}, {"range": "bytes=0-9"}, {"range": f"bytes={len(whole)}-"}):
        answer = work.http.head(address, headers=fields)
        assert answer.status_code == 200
        assert int(answer.headers["content-length"]) == len(whole)
        assert answer.headers["accept-ranges"] == "bytes"
        assert "content-range" not in answer.headers


def test_a_reader_with_a_tag_is_told_whether_it_is_current(work: Talk) -> None:
    name = work.dataset()
    work.publish(f"{name}/a/mask", nifti(two_balls()))
    address = f"/zarr/{name}.zarr/a/zarr.json"
    first = work.http.get(address)
    assert first.headers["cache-control"] == "no-cache"
    assert first.headers["content-type"] == "application/json"
    tag = {"if-none-match": first.headers["etag"]}
    assert work.http.get(address, headers=tag).status_code == 304
    work.publish(f"{name}/a/mask", nifti(two_balls(1)), replace="true")
    again = work.http.get(address, headers=tag)
    assert again.status_code == 200
    assert again.headers["etag"] != first.headers["etag"]
    part = {"range": "bytes=0-3", "if-range": first.headers["etag"]}
    assert work.http.get(address, headers=part).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/zarr/",
        "/zarr/{d}.zarr",
        "/zarr/{d}.zarr/",
        "/zarr/{d}.zarr/a",
        "/zarr/{d}.zarr/a/phi",
        "/zarr/{d}.zarr/.zgroup",
        "/zarr/{d}.zarr/nothing/zarr.json",
        "/zarr/{d}.zarr/../../jobs.sqlite",
        "/zarr/{d}.zarr/%2e%2e/%2e%2e/jobs.sqlite",
        "/zarr/{d}.zarr/..%2f..%2fjobs.sqlite",
        "/zarr/../jobs.sqlite",
        "/zarr/%2e%2e/spool",
        "/zarr//etc/passwd",
        "/zarr/%2fetc%2fpasswd",
        "/zarr/{d}.zarr//etc/passwd",
        "/zarr/{d}.zarr/a%00/zarr.json",
        "/zarr/{d}.zarr/" + "x" * 300,
        "/zarr/link.zarr/passwd",
        "/zarr/.secret.zarr/zarr.json",
    ],
)
def test_nothing_but_published_files_is_reached(work: Talk, knees: str, path: str) -> None:
    store = work.service.data / "store"
    if not (store / "link.zarr").is_symlink():
        (store / "link.zarr").symlink_to("/etc")
        (store / ".secret.zarr").mkdir()
        (store / ".secret.zarr" / "zarr.json").write_text("{}")
    answer = raw_get(work.service.url, path.format(d=knees))
    assert answer.startswith("HTTP/1.1 404 "), answer
    assert "application/problem+json" in answer


def raw_get(url: str, target: str) -> str:
    """The answer to a GET of just this target: httpx would tidy the path first."""
    host, port = re.fullmatch(r"http://(.*):(\d+)", url).groups()  # type: ignore[union-attr]
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while block := connection.recv(65536):
            answer += block
    return answer.decode()


@given(
    size=st.integers(0, 50),
    first=st.none() | st.integers(0, 60),
    last=st.none() | st.integers(0, 60),
)
def test_byte_range_is_python_slicing(size: int, first: int | None, last: int | None) -> None:
    text = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    data = list(range(size))
    if first is None:
        expected = None if last is None else data[max(0, size - last) :]
    elif last is None:
        expected = data[first:]
    else:
        expected = None if last < first else data[first : last + 1]
    try:
        found = byte_range(text, size)
    except RangeNotSatisfiable:
        assert expected == []
    else:
        assert (None if found is None else data[slice(*found)]) == expected
        assert expected != []
