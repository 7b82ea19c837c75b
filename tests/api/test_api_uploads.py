"""What a PUT answers before any worker sees it: accepted, or refused by address or header without a trace."""

from __future__ import annotations

import gzip
import hashlib
import re
import socket
import time
from collections.abc import Iterator

import numpy as np
import pytest

from tests.api.bodies import (
    SHAPE,
    affine_of,
    nifti,
    nifti_with_header,
    npy,
    two_balls,
)
from tests.api.talk import Talk, assert_problem

MASK = nifti(two_balls())

DIMS, PIXDIM = 40, 76  # offsets of a NIfTI-1 header
RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])


def nrrd(fields: str, body: bytes = b"") -> bytes:
    return b"NRRD0004\n" + fields.encode() + b"\n\n" + body


HEADER_FAULTS = {
    "text": (b"<html>not found</html>", 422, "HTML"),
    "empty": (b"", 422, "empty"),
    "4-D": (nifti(np.zeros((3, *SHAPE), np.uint8)), 422, "3 values a voxel"),
    "RGB": (nifti(np.zeros(SHAPE, RGB)), 422, "a voxel"),
    "zero axis": (npy(np.zeros((0, 4, 4), np.uint8)), 422, "size 0"),
    "spacing zero": (nifti_with_header(PIXDIM, "ffff", 1, 0, 1, 1), 422, "spacing"),
    "spacing negative": (nifti_with_header(PIXDIM, "ffff", 1, -1, 1, 1), 422, "spacing"),
    "spacing NaN": (nifti_with_header(PIXDIM, "ffff", 1, float("nan"), 1, 1), 422, "spacing"),
    "shorter than it says": (nifti_with_header(DIMS, "hhhh", 3, 40, 40, 40), 422, "bytes"),
    "detached NRRD": (
        nrrd("type: uchar\ndimension: 3\nsizes: 4 4 4\nencoding: raw\ndata file: /etc/passwd"),
        422,
        "another file",
    ),
    "detached MetaImage": (
        b"ObjectType = Image\nNDims = 3\nDimSize = 4 4 4\nElementType = MET_UCHAR\n"
        b"ElementDataFile = /etc/passwd\n",
        422,
        "another file",
    ),
    "pickled npy": (npy(np.array([{"a": 1}], object), pickle=True), 422, "pickle"),
    "over the budget": (npy(np.zeros((50, 50, 50), np.uint8)), 413, "MEMORY_BUDGET"),
}


@pytest.fixture
def spotless(talk: Talk) -> Iterator[Talk]:
    """`talk`, and what the test has PUT leaves neither spool file nor dataset behind."""
    spool, datasets = talk.spool(), talk.http.get("/v1/datasets").json()
    yield talk
    assert talk.spool() == spool
    assert talk.http.get("/v1/datasets").json() == datasets


def test_a_mask_is_accepted_with_its_job(talk: Talk) -> None:
    name = talk.dataset()
    answer = talk.put(f"{name}/a/mask", MASK, labels="5,6", filename="../knee 1.nii.gz")
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert job["sha256"] == hashlib.sha256(MASK).hexdigest()
    assert (job["dataset"], job["case"], job["state"], job["kind"]) == (name, "a", "queued", "mask")
    assert job["filename"] == "knee 1.nii.gz"
    assert talk.http.get(f"/v1/datasets/{name}").json()["spec"] == {"labels": [5, 6], "units": "voxel"}


def test_the_same_mask_again_is_the_same_job_with_one_file_in_the_spool(talk: Talk) -> None:
    name = talk.dataset()
    first = talk.put(f"{name}/a/mask", MASK)
    spool = talk.spool()
    second = talk.put(f"{name}/a/mask", MASK)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["id"] == second.json()["id"]
    assert talk.spool() == spool


def test_another_mask_meanwhile_is_409_with_both_hashes_unless_it_replaces(talk: Talk) -> None:
    name = talk.dataset()
    other = nifti(two_balls(1))
    first = talk.put(f"{name}/a/mask", MASK).json()
    hashes = [hashlib.sha256(body).hexdigest() for body in (MASK, other)]
    assert_problem(talk.put(f"{name}/a/mask", other), 409, *hashes)
    second = talk.put(f"{name}/a/mask", other, replace="true")
    assert second.status_code == 202
    assert talk.http.get(f"/v1/jobs/{first['id']}").json()["state"] == "cancelled"


def test_a_chunked_body_is_taken(talk: Talk) -> None:
    def chunks() -> Iterator[bytes]:
        for begin in range(0, len(MASK), 100):
            yield MASK[begin : begin + 100]

    answer = talk.http.put(f"/v1/datasets/{talk.dataset()}/cases/a/mask", content=chunks())
    assert answer.status_code == 202
    assert answer.json()["sha256"] == hashlib.sha256(MASK).hexdigest()


@pytest.mark.parametrize("fault", HEADER_FAULTS)
def test_what_the_header_shows_is_refused(spotless: Talk, fault: str) -> None:
    body, status, word = HEADER_FAULTS[fault]
    answer = spotless.put(f"{spotless.dataset()}/a/mask", body, filename="mask.nii.gz")
    assert_problem(answer, status, "mask.nii.gz", word)


@pytest.mark.parametrize(
    "name", ["%2e%2e", "%2e", ".hidden", "%00", "a%00b", "a%20b", "-a", "x" * 300, "%C3%A9", "a%0Ab"]
)
def test_names_are_refused_before_the_body_is_asked_for(spotless: Talk, name: str) -> None:
    for path in (f"{name}/cases/a/mask", f"d/cases/{name}/mask", f"{name}/cases/a/image"):
        answer = refused_before_the_body(spotless, f"/v1/datasets/{path}")
        assert "400 Bad Request" in answer
        assert "a name is 1 to 128" in answer


@pytest.mark.parametrize("name", ["a%2Fb", "..%2F..%2Fetc", "%2Fetc"])
def test_a_slash_in_a_name_leads_nowhere(spotless: Talk, name: str) -> None:
    answer = spotless.http.put(f"/v1/datasets/d/cases/{name}/mask", content=MASK)
    assert_problem(answer, 404)


@pytest.mark.parametrize(
    "query",
    [
        "labels=0",
        "labels=-5",
        "labels=5,5",
        "labels=5.5",
        "labels=five",
        "labels=4294967296",
        "labels=5,",
        "units=cm",
        "spacing=1,2",
        "spacing=1,a,2",
    ],
)
def test_a_bad_spec_is_refused_before_the_body_is_asked_for(spotless: Talk, query: str) -> None:
    answer = refused_before_the_body(spotless, f"/v1/datasets/new/cases/a/mask?{query}")
    assert "400 Bad Request" in answer
    assert "/problems/bad-spec" in answer


def refused_before_the_body(talk: Talk, target: str) -> str:
    """The answer to a PUT that waits for `100 Continue`, as curl does; its body must not be asked for."""
    host, port = re.fullmatch(r"http://(.*):(\d+)", talk.service.url).groups()  # type: ignore[union-attr]
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        fields = ("Content-Length: 500000", "Expect: 100-continue", "Connection: close")
        lines = (f"PUT {target} HTTP/1.1", f"Host: {host}", *fields, "", "")
        connection.sendall("\r\n".join(lines).encode())
        answer = b""
        while block := connection.recv(65536):
            answer += block
    assert answer.startswith(b"HTTP/1.1 4"), answer
    return answer.decode()


@pytest.mark.parametrize("spacing", ["0,1,1", "-1,1,1", "nan,1,1", "inf,1,1"])
def test_a_spacing_that_is_none_is_refused(spotless: Talk, spacing: str) -> None:
    answer = spotless.put(f"{spotless.dataset()}/a/mask", npy(two_balls()), spacing=spacing)
    assert_problem(answer, 400, "spacing")


def test_mm_needs_a_spacing(spotless: Talk) -> None:
    answer = spotless.put(f"{spotless.dataset()}/a/mask", npy(two_balls()), units="mm", filename="a.npy")
    assert_problem(answer, 400, "a.npy", "no spacing", "spacing=z,y,x")


def test_mm_takes_a_given_spacing(talk: Talk) -> None:
    answer = talk.put(f"{talk.dataset()}/a/mask", npy(two_balls()), units="mm", spacing="2,0.5,0.5")
    assert answer.status_code == 202


def test_mm_refuses_a_sheared_frame(spotless: Talk) -> None:
    affine = affine_of()
    affine[0, 1] = 0.2
    answer = spotless.put(f"{spotless.dataset()}/a/mask", nifti(two_balls(), affine), units="mm")
    assert_problem(answer, 400, "sheared")


def test_a_body_over_the_limit_is_refused_by_its_length(spotless: Talk) -> None:
    answer = spotless.put(f"{spotless.dataset()}/a/mask", bytes(1_000_001))
    assert_problem(answer, 413, "1000001", "MAX_BODY")


def test_a_body_over_the_limit_is_refused_while_it_streams(spotless: Talk) -> None:
    blocks = (bytes(100_000) for _ in range(30))
    answer = spotless.http.put(f"/v1/datasets/{spotless.dataset()}/cases/a/mask", content=blocks)
    assert_problem(answer, 413, "more than 1000000")


def test_a_compressed_transfer_is_refused(spotless: Talk) -> None:
    answer = spotless.http.put(
        f"/v1/datasets/{spotless.dataset()}/cases/a/mask",
        content=gzip.compress(MASK),
        headers={"content-encoding": "gzip"},
    )
    assert_problem(answer, 422, "Content-Encoding")


def test_a_client_that_hangs_up_leaves_nothing(spotless: Talk) -> None:
    host, port = re.fullmatch(r"http://(.*):(\d+)", spotless.service.url).groups()  # type: ignore[union-attr]
    spool = spotless.spool()
    target = f"/v1/datasets/{spotless.dataset()}/cases/a/mask"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        head = f"PUT {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000\r\n\r\n"
        connection.sendall(head.encode())
        connection.sendall(bytes(40_000))
        until(lambda: spotless.spool() != spool)
    until(lambda: spotless.spool() == spool)


def until(condition: object) -> None:
    """Wait until a condition holds; ten seconds are a failure."""
    assert callable(condition)
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came")


def test_a_dataset_of_another_spec_is_409_with_both(talk: Talk) -> None:
    name = talk.dataset()
    talk.http.put(f"/v1/datasets/{name}", json={"spec": {"labels": [5], "units": "mm"}})
    answer = talk.put(f"{name}/a/mask", MASK, labels="5,6")
    assert_problem(answer, 409, "labels 5 in mm", "labels 5,6 in mm")
    assert talk.put(f"{name}/a/mask", MASK).status_code == 202
    assert talk.put(f"{name}/b/mask", MASK, labels="5", units="mm").status_code == 202


def test_an_image_may_come_first_and_does_not_settle_the_spec(talk: Talk) -> None:
    name = talk.dataset()
    assert talk.put(f"{name}/a/image", nifti(np.ones(SHAPE, np.int16))).status_code == 202
    assert talk.put(f"{name}/a/mask", MASK, labels="5").status_code == 202
    assert talk.http.get(f"/v1/datasets/{name}").json()["spec"]["labels"] == [5]


def test_control_characters_of_a_filename_are_not_repeated(spotless: Talk) -> None:
    answer = spotless.put(
        f"{spotless.dataset()}/a/mask", b"text", filename="C:\\x\\a\x1b[31m\n<b>.nii" + "x" * 500
    )
    problem = assert_problem(answer, 422, "a[31m<b>.nii")
    assert len(problem["detail"]) < 400


def test_a_misspelt_query_is_refused(spotless: Talk) -> None:
    answer = spotless.put(f"{spotless.dataset()}/a/mask", npy(two_balls()), label="5")
    assert_problem(answer, 422, "'label' is not known here", "labels", "replace")
