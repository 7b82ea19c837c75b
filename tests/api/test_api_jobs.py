"""Jobs over HTTP: list, wait, events, cancel, run again."""

from __future__ import annotations

import itertools
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dmapsvc.jobs import Job
from dmapsvc.pipeline import run_case
from dmapsvc.store import open_store
from tests.api.bodies import nifti, two_balls
from tests.api.talk import Talk, assert_problem

MASK = nifti(two_balls())
FRACTIONS = nifti(two_balls().astype(np.float32) / 2)


def test_a_job_is_what_the_library_reads(talk: Talk) -> None:
    answer = talk.put(f"{talk.dataset()}/a/mask", MASK).json()
    job = Job.from_json(answer)
    assert json.loads(json.dumps(job.to_json())).keys() == answer.keys()
    assert Job.from_json(talk.http.get(f"/v1/jobs/{job.id}").json()).id == job.id


def test_jobs_are_listed_by_filter_and_page(talk: Talk) -> None:
    name = talk.dataset()
    ids = [talk.put(f"{name}/{case}/mask", MASK).json()["id"] for case in "abc"]
    talk.http.delete(f"/v1/jobs/{ids[0]}")

    def listed(**query: str) -> list[str]:
        answer = talk.http.get("/v1/jobs", params={"dataset": name, **query})
        return [job["id"] for job in answer.json()["jobs"]]

    assert listed() == ids[::-1]
    assert listed(case="b") == [ids[1]]
    assert listed(state="queued") == [ids[2], ids[1]]
    assert listed(state="cancelled") == [ids[0]]
    page = talk.http.get("/v1/jobs", params={"dataset": name, "limit": 2}).json()
    assert [job["id"] for job in page["jobs"]] == [ids[2], ids[1]]
    assert listed(cursor=page["next"]) == [ids[0]]
    assert talk.http.get("/v1/jobs", params={"dataset": name}).json()["next"] is None


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "state=lost", "limit=100000"])
def test_a_bad_filter_is_refused(talk: Talk, query: str) -> None:
    assert_problem(talk.http.get(f"/v1/jobs?{query}"), 422, query.partition("=")[0])


@pytest.mark.parametrize("job", ["x", "0" * 63, "0" * 64, "%00"])
def test_what_is_no_job_is_404(talk: Talk, job: str) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/retry"), ("GET", "/events")):
        assert_problem(talk.http.request(method, f"/v1/jobs/{job}{path}"), 404)


def test_waiting_ends_at_its_time_and_blocks_nobody(talk: Talk) -> None:
    job = talk.put(f"{talk.dataset()}/a/mask", MASK).json()
    answers: list[Any] = []

    def wait() -> None:
        answers.append(talk.http.get(f"/v1/jobs/{job['id']}", params={"wait": 1.0}).json()["state"])

    waiting = [threading.Thread(target=wait) for _ in range(50)]
    for thread in waiting:
        thread.start()
    assert talk.http.get("/healthz").is_success
    assert not answers  # answered while all of them still wait
    for thread in waiting:
        thread.join()
    assert answers == ["queued"] * 50


@pytest.mark.parametrize("wait", ["-1", "301", "nan", "inf", "soon"])
def test_a_bad_wait_is_refused(talk: Talk, wait: str) -> None:
    assert_problem(talk.http.get(f"/v1/jobs/{'0' * 64}", params={"wait": wait}), 422, "wait")


def test_waiting_ends_with_the_job(work: Talk) -> None:
    job = work.publish(f"{work.dataset()}/a/mask", MASK)
    assert (job["percent"], job["position"], job["problem"]) == (100, None, None)
    assert set(job["seconds"]) == {"read", "map", "publish"}
    assert job["backend"]


def test_events_end_with_the_job(work: Talk) -> None:
    answer = work.put(f"{work.dataset()}/a/mask", MASK)
    events = []
    with work.http.stream("GET", f"{answer.headers['location']}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("event:"):
                assert line == "event: job"
            if line.startswith("data:"):
                events.append(Job.from_json(json.loads(line.removeprefix("data:"))))
    assert events[-1].state.value == "done"
    assert all(before != after for before, after in itertools.pairwise(events))
    assert [event.percent for event in events] == sorted(event.percent for event in events)


def test_events_tell_of_a_cancelled_job(talk: Talk) -> None:
    job = talk.put(f"{talk.dataset()}/a/mask", MASK).json()
    with talk.http.stream("GET", f"/v1/jobs/{job['id']}/events") as stream:
        lines = (line for line in stream.iter_lines() if line.startswith("data:"))
        assert json.loads(next(lines).removeprefix("data:"))["state"] == "queued"
        talk.http.delete(f"/v1/jobs/{job['id']}")
        assert json.loads(next(lines).removeprefix("data:"))["state"] == "cancelled"
        assert next(lines, None) is None


def test_a_cancelled_job_runs_again_from_its_upload_or_from_a_new_one(talk: Talk) -> None:
    name = talk.dataset()
    job = talk.put(f"{name}/a/mask", MASK).json()
    spool = talk.spool()
    for run in (2, 3):
        assert talk.http.delete(f"/v1/jobs/{job['id']}").json()["state"] == "cancelled"
        if run == 2:
            again = talk.http.post(f"/v1/jobs/{job['id']}/retry")
            assert talk.spool() == spool
        else:
            again = talk.put(f"{name}/a/mask", MASK)
            assert len(talk.spool()) == len(spool)
        assert again.status_code == 202
        assert (again.json()["id"], again.json()["run"]) == (job["id"], run)


def test_a_job_that_is_run_again_goes_above_what_was_published_meanwhile(talk: Talk, tmp_path: Path) -> None:
    name, mask = talk.dataset(), tmp_path / "mask.nii.gz"
    job = talk.put(f"{name}/a/mask", MASK).json()
    talk.http.delete(f"/v1/jobs/{job['id']}")
    mask.write_bytes(MASK)
    data = talk.service.data
    run_case(mask, open_store(str(data / "store"), data / "staging").open(name), "a", revision=7)
    assert talk.http.post(f"/v1/jobs/{job['id']}/retry").json()["revision"] == 8


def test_only_what_failed_or_was_cancelled_is_run_again(work: Talk) -> None:
    job = work.publish(f"{work.dataset()}/a/mask", MASK)
    assert_problem(work.http.post(f"/v1/jobs/{job['id']}/retry"), 409)
