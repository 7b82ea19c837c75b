"""What the client asks for, and what it makes of the answers."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from dmapsvc.client import Client, split_dataset_url
from dmapsvc.errors import BadFile, BadInput, BadName, NotFound
from dmapsvc.jobs import Kind, State
from dmapsvc.spec import MapSpec
from tests.client.client_stub import DONE, Answer, Stub, job_json

JOB = "/v1/jobs/" + "ab" * 32
MASK = "/v1/datasets/knees/cases/a/mask"
PHI = "/v1/datasets/knees/cases/a/phi.nii.gz"


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_server_may_end_in_a_slash(stub: Stub, slash: str) -> None:
    stub.on("GET", "/v1/datasets", Answer.json({"datasets": []}))
    with Client(stub.url + slash) as client:
        assert client.datasets() == []
        assert client.server == stub.url


@pytest.mark.parametrize("server", ["127.0.0.1:8000", "ftp://host", "http://", "knees.zarr", ""])
def test_a_server_is_an_http_url(server: str) -> None:
    with pytest.raises(BadInput, match=r"http://127\.0\.0\.1:8000"):
        Client(server)


def test_an_upload_sends_the_file_as_it_is(stub: Stub, tmp_path: Path) -> None:
    mask = tmp_path / "a b.nii.gz"
    mask.write_bytes(bytes(range(256)) * 10_000)
    stub.on("PUT", MASK, Answer.json(job_json(), 202))
    blocks: list[int] = []
    spec = MapSpec(labels=(5, 6, 7), units="mm")
    with Client(stub.url) as client:
        job = client.put_mask(
            "knees", "a", mask, spec=spec, spacing=(0.7, 0.36, 0.36), replace=True, progress=blocks.append
        )
    asked = stub.asked[0]
    assert asked.body == mask.read_bytes()
    assert asked.headers["content-length"] == str(mask.stat().st_size)
    assert asked.query == {
        "labels": "5,6,7",
        "units": "mm",
        "replace": "true",
        "spacing": "0.7,0.36,0.36",
        "filename": "a b.nii.gz",
    }
    assert sum(blocks) == mask.stat().st_size
    assert len(blocks) > 1  # in blocks, not in one piece
    assert (job.id, job.state, job.kind, job.position) == ("ab" * 32, State.QUEUED, Kind.MASK, 1)


def test_an_upload_without_a_spec_leaves_it_to_the_dataset(stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"x")
    stub.on("PUT", MASK, Answer.json(job_json(), 202))
    with Client(stub.url) as client:
        client.put_mask("knees", "a", tmp_path / "a.npy")
    assert stub.asked[0].query == {"filename": "a.npy"}


def test_a_file_that_is_missing_is_a_bad_file(stub: Stub, tmp_path: Path) -> None:
    with Client(stub.url) as client, pytest.raises(BadFile, match="No such file"):
        client.put_image("knees", "a", tmp_path / "a.nii.gz")
    assert stub.asked == []


def test_a_job_is_read_back_whole(stub: Stub) -> None:
    problem = {"type": "/problems/bad-labels", "title": "T", "status": 422, "detail": "voxel is 1.5."}
    stub.on("GET", JOB, Answer.json({**DONE, "state": "failed", "problem": problem}))
    with Client(stub.url) as client:
        job = client.job("ab" * 32)
    assert job.state is State.FAILED
    assert job.problem is not None
    assert (job.problem.status, job.problem.detail) == (422, "voxel is 1.5.")
    assert job.ended == datetime(2026, 11, 23, 5, 0, 2, 500_000, tzinfo=UTC)
    assert job.seconds == {"read": 0.5, "map": 1.0}
    assert job.notes == ("label 7 is absent",)


def test_wait_asks_until_the_job_has_ended(stub: Stub) -> None:
    running = job_json(state="running", stage="map", percent=40.0, position=None)
    stub.on("GET", JOB, Answer.json(job_json()), Answer.json(running), Answer.json(DONE))
    seen: list[float] = []
    with Client(stub.url) as client:
        job = client.wait("ab" * 32, progress=lambda now: seen.append(now.percent))
    assert job.state is State.DONE
    assert seen == [0.0, 40.0, 100.0]
    assert all(float(asked.query["wait"]) > 0 for asked in stub.asked)


def test_wait_gives_up_after_its_timeout(stub: Stub) -> None:
    stub.on("GET", JOB, Answer.json(job_json()))
    with Client(stub.url) as client:
        assert client.wait("ab" * 32, timeout=0.05).state is State.QUEUED


def test_lists_go_on_to_the_last_page(stub: Stub) -> None:
    pages = [{"cases": ["a", "b"], "next": "b"}, {"cases": ["c"], "next": None}]
    stub.on("GET", "/v1/datasets/knees/cases", *map(Answer.json, pages))
    with Client(stub.url) as client:
        assert list(client.cases("knees")) == ["a", "b", "c"]
    assert [asked.query for asked in stub.asked] == [{}, {"cursor": "b"}]


def test_jobs_are_filtered_on_every_page(stub: Stub) -> None:
    pages = [{"jobs": [job_json()], "next": "1"}, {"jobs": [DONE], "next": None}]
    stub.on("GET", "/v1/jobs", *map(Answer.json, pages))
    with Client(stub.url) as client:
        jobs = list(client.jobs(dataset="knees", state="done"))
    assert [job.state for job in jobs] == [State.QUEUED, State.DONE]
    filters = {"dataset": "knees", "state": "done"}
    assert [asked.query for asked in stub.asked] == [filters, {**filters, "cursor": "1"}]


def test_the_other_calls_go_where_they_should(stub: Stub) -> None:
    stub.on("PUT", "/v1/datasets/knees", Answer.json({"name": "knees"}, 201))
    stub.on("GET", "/v1/datasets/knees", Answer.json({"name": "knees", "cases": 1}))
    stub.on("GET", "/v1/datasets/knees/cases/a", Answer.json({"name": "a", "revision": 2}))
    stub.on("DELETE", "/v1/datasets/knees/cases/a", Answer(status=204))
    stub.on("DELETE", "/v1/datasets/knees", Answer(status=204))
    stub.on("DELETE", JOB, Answer.json(job_json(state="cancelled")))
    stub.on("POST", JOB + "/retry", Answer.json(job_json(run=2), 202))
    with Client(stub.url) as client:
        client.create_dataset("knees", MapSpec(labels=(5,)), {5: "femur"})
        assert client.dataset("knees")["cases"] == 1
        assert client.case("knees", "a")["revision"] == 2
        client.delete("knees", "a")
        client.delete("knees")
        assert client.cancel("ab" * 32).state is State.CANCELLED
        assert client.retry("ab" * 32).run == 2
    assert stub.asked[0].body == b'{"spec":{"labels":[5],"units":"voxel"},"names":{"5":"femur"}}'


def test_a_download_appears_whole(stub: Stub, tmp_path: Path) -> None:
    data = bytes(range(256)) * 20_000
    stub.on("GET", PHI, Answer(data, headers={"content-type": "application/gzip"}))
    seen: list[tuple[int, int | None]] = []
    with Client(stub.url) as client:
        progress = lambda done, total: seen.append((done, total))  # noqa: E731
        client.download("knees", "a", "phi.nii.gz", tmp_path / "phi.nii.gz", progress=progress)
    assert (tmp_path / "phi.nii.gz").read_bytes() == data
    assert [file.name for file in tmp_path.iterdir()] == ["phi.nii.gz"]
    assert seen[-1] == (len(data), len(data))


@pytest.mark.parametrize("name", ["..", "a/b", "", "x" * 300, "a\0"])
def test_a_name_that_cannot_be_never_reaches_the_server(stub: Stub, name: str) -> None:
    with Client(stub.url) as client:
        with pytest.raises(BadName):
            client.dataset(name)
        with pytest.raises(BadName):
            client.case("knees", name)
        with pytest.raises(NotFound):
            client.job(f"{name}/")
    assert stub.asked == []


def test_a_dataset_url_is_taken_apart() -> None:
    url = "http://host:8000/base/v1/datasets/knees"
    assert split_dataset_url(url) == ("http://host:8000/base", "knees", None)
    assert split_dataset_url(url + "/") == ("http://host:8000/base", "knees", None)
    assert split_dataset_url(url + "/cases/a") == ("http://host:8000/base", "knees", "a")


@pytest.mark.parametrize(
    "url", ["knees", "http://h/v1/datasets", "http://h/v1/datasets/a/b", "h/v1/datasets/a"]
)
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(BadInput, match="http://"):
        split_dataset_url(url)
