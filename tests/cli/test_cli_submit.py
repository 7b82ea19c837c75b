"""`submit` and `jobs` against a server that answers as told: full queues, and ids that begin alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.cli.cli_run import Run
from tests.client.client_stub import DONE, Answer, Stub, job_json

MASK = "/v1/datasets/knees/cases/a/mask"


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Run]) -> Iterator[Stub]:
    """The server, which the program knows by its environment."""
    server = Stub()
    monkeypatch.setenv("DMAPSVC_SERVER", server.url)
    yield server
    server.close()


def test_a_full_queue_is_waited_for(
    stub: Stub, cli: Callable[..., Run], masks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    full = Answer.problem(503, "The queue is full.", retry_after="7")
    stub.on("PUT", MASK, full, full, Answer.json(job_json(), 202))
    run = cli("submit", masks / "a.nii.gz", "--dataset", "knees")
    assert run.code == 0, run.err
    assert slept == [7.0, 7.0]
    assert {asked.body for asked in stub.asked} == {(masks / "a.nii.gz").read_bytes()}


def test_options_go_along(stub: Stub, cli: Callable[..., Run], masks: Path) -> None:
    stub.on("PUT", MASK, Answer.json(job_json(), 202))
    mask = masks / "a.nii.gz"
    cli("submit", mask, "--dataset", "knees")
    cli("submit", mask, "--dataset", "knees", "--units", "mm", "--spacing", "1,.5,.5", "--replace")
    plain, full = (asked.query for asked in stub.asked if asked.method == "PUT")
    assert plain == {"filename": "a.nii.gz"}
    assert full == {
        "filename": "a.nii.gz",
        "labels": "all",
        "units": "mm",
        "spacing": "1.0,0.5,0.5",
        "replace": "true",
    }


def test_what_is_published_needs_no_waiting(stub: Stub, cli: Callable[..., Run], masks: Path) -> None:
    stub.on("PUT", MASK, Answer.json(DONE))
    regions = [{"value": 0, "maximum": 20.25}, {"value": 5, "maximum": 3.0}]
    stub.on("GET", "/v1/datasets/knees/cases/a", Answer.json({"regions": regions, "spec": {"units": "mm"}}))
    run = cli("submit", masks / "a.nii.gz", "--dataset", "knees", "--wait")
    assert run.code == 0, run.err
    header, row, counts = run.out.splitlines()
    assert "largest distances (mm)" in header
    assert counts == "knees: 0 files done, 1 there already, 0 failed"
    assert row.split()[:2] == ["a", "done"]
    for cell in ("background: 20.25, 5: 3", "read 0.50, map 1.00", "numba", "ab" * 6):
        assert cell in row
    assert "a: label 7 is absent" in run.err.splitlines()


def test_an_internal_error_of_the_server_stops_it(stub: Stub, cli: Callable[..., Run], masks: Path) -> None:
    stub.on("PUT", MASK, Answer.problem(500, "Something broke."))
    run = cli("submit", masks, "--dataset", "knees")
    assert run.code == 1
    assert run.error == "error: Something broke."


def test_an_ambiguous_beginning_of_an_id(stub: Stub, cli: Callable[..., Run]) -> None:
    jobs = [job_json(id="ab" * 32), job_json(id="ac" * 32)]
    stub.on("GET", "/v1/jobs", Answer.json({"jobs": jobs, "next": None}))
    stub.on("GET", "/v1/jobs/" + "ac" * 32, Answer.json(jobs[1]))
    assert cli("jobs", "a").code == 2
    assert "2 jobs" in cli("jobs", "a").error
    assert "ac" * 32 in cli("jobs", "AC").out
    assert cli("jobs", "ad").code == 2


def test_jobs_are_listed_up_to_the_limit(stub: Stub, cli: Callable[..., Run]) -> None:
    why = {"type": "/problems/bad-labels", "title": "T", "status": 422, "detail": "a.nii.gz: voxel is 1.5."}
    jobs = [job_json(id=f"{number}0" * 32, state="failed", problem=why) for number in range(3)]
    stub.on("GET", "/v1/jobs", Answer.json({"jobs": jobs, "next": None}))
    rows = cli("jobs", "--limit", "2").out.splitlines()
    assert len(rows) == 3
    created = datetime.fromisoformat("2026-11-23T05:00:00+00:00").astimezone()
    assert f"{created:%Y-%m-%d %H:%M}" in rows[1]
    assert rows[1].startswith("000000000000  knees")
    assert rows[1].endswith("a.nii.gz: voxel is 1.5.")
    stub.on("GET", "/v1/jobs", Answer.json({"jobs": [], "next": None}))
    assert cli("jobs").error == "no jobs"


def test_a_job_that_someone_cancelled_is_not_done(stub: Stub, cli: Callable[..., Run], masks: Path) -> None:
    stub.on("PUT", MASK, Answer.json(job_json(), 202))
    stub.on("GET", "/v1/jobs/" + "ab" * 32, Answer.json({**DONE, "state": "cancelled", "notes": []}))
    run = cli("submit", masks / "a.nii.gz", "--dataset", "knees", "--wait")
    assert run.code == 1
    assert run.err.splitlines()[-1] == "error: a: The job was cancelled."
    assert run.out.splitlines()[1].split()[:2] == ["a", "cancelled"]
