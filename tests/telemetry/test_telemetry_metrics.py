"""Metrics: they count what happened, replicas agree on the queue, and each is documented and drawn."""

from __future__ import annotations

from pathlib import Path

import httpx
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from api.app import create_app
from api.dependencies import get_jobs
from demo.service import Service
from dmapsvc.settings import Settings
from tests.api.bodies import nifti, two_balls
from tests.api.talk import serving
from tests.jobs.processes import eventually
from tests.telemetry.conftest import Told

Sample = tuple[str, frozenset[tuple[str, str]]]


def scrape(url: str) -> dict[Sample, float]:
    """Every sample at `url`, by name and labels."""
    answer = httpx.get(url, trust_env=False)
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def sample(samples: dict[Sample, float], name: str, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0.0)


def test_what_was_asked_is_counted(told: Told) -> None:
    url = f"{told.talk.service.url}/metrics"
    route = "/v1/datasets/{dataset}/cases/{case}/mask"
    before = scrape(url)
    body = nifti(two_balls())
    told.talk.publish("counted/a/mask", body)
    told.talk.http.get("/no/such/place")
    told.talk.http.request("BREW", "/v1/jobs")
    after = scrape(url)

    def more(name: str, **labels: str) -> float:
        return sample(after, name, **labels) - sample(before, name, **labels)

    assert more("dmapsvc_requests_total", method="PUT", route=route, status="202") == 1
    assert more("dmapsvc_request_seconds_count", method="PUT", route=route) == 1
    assert more("dmapsvc_upload_bytes_total", route=route) == len(body)
    assert more("dmapsvc_requests_total", method="GET", route="other", status="404") == 1
    assert more("dmapsvc_requests_total", method="OTHER", route="/v1/jobs", status="405") == 1
    assert more("dmapsvc_jobs", state="done") == 1
    assert sample(after, "dmapsvc_requests_in_flight") == 1  # this one
    assert sample(after, "dmapsvc_database_up") == 1


def test_a_worker_tells_what_its_runs_took(told: Told) -> None:
    before = scrape(told.worker_url)
    told.talk.publish("timed/a/mask", nifti(two_balls()))
    told.talk.done(told.talk.put("timed/b/mask", nifti(two_balls().astype("float32") + 0.5)))
    after = scrape(told.worker_url)

    def more(name: str, **labels: str) -> float:
        return sample(after, name, **labels) - sample(before, name, **labels)

    for stage in ("read", "map", "publish"):
        assert more("dmapsvc_stage_seconds_count", kind="mask", stage=stage) == 1
        assert more("dmapsvc_stage_seconds_sum", kind="mask", stage=stage) > 0
    assert more("dmapsvc_attempts_total", kind="mask", outcome="done") == 1
    assert more("dmapsvc_attempts_total", kind="mask", outcome="refused") == 1
    assert sample(after, "dmapsvc_runs_in_progress") == 0


def test_replicas_agree_on_the_queue(tmp_path: Path) -> None:
    first, second = Service(tmp_path, ("api",)), Service(tmp_path, ("api",))
    with first, second:
        for name in ("a", "b"):
            address = f"{first.url}/v1/datasets/d/cases/{name}/mask"
            job = httpx.put(address, content=nifti(two_balls()), trust_env=False).json()
        httpx.delete(f"{second.url}/v1/jobs/{job['id']}", trust_env=False)
        for service in (first, second):
            samples = scrape(f"{service.url}/metrics")
            assert sample(samples, "dmapsvc_jobs", state="queued") == 1
            assert sample(samples, "dmapsvc_jobs", state="cancelled") == 1
            assert sample(samples, "dmapsvc_queue_oldest_seconds", priority="0") > 0
        httpx.post(f"{first.url}/v1/jobs/{job['id']}/retry", trust_env=False)
        samples = scrape(f"{second.url}/metrics")
        assert sample(samples, "dmapsvc_jobs", state="queued") == 2
        assert sample(samples, "dmapsvc_jobs", state="cancelled") == 0, "a job counts at its latest run"


def test_a_database_that_is_down_is_a_metric(tmp_path: Path) -> None:
    class Down:
        def census(self) -> None:
            raise sa.exc.OperationalError("SELECT", {}, Exception("secret"))

    app = create_app(Settings(data=tmp_path))
    app.dependency_overrides[get_jobs] = Down
    with serving(app) as client:
        samples = scrape(f"{client.base_url}/metrics")
    assert sample(samples, "dmapsvc_database_up") == 0
    assert ("dmapsvc_jobs", frozenset({("state", "queued")})) not in samples


def test_the_worker_is_listed_and_measured(told: Told) -> None:
    [worker] = eventually(lambda: told.talk.http.get("/v1/workers").json()["workers"])
    assert (worker["backend"], worker["device"], worker["away"]) == ("numba", "CPU", False)
    assert 2**20 < worker["memory_used"] < worker["memory_total"]
    samples = scrape(f"{told.talk.service.url}/metrics")
    place = {"host": worker["host"], "pid": str(worker["pid"]), "device": "CPU"}
    assert sample(samples, "dmapsvc_workers", backend="numba") == 1
    assert sample(samples, "dmapsvc_worker_slots", **place) == worker["concurrency"] == 2
    assert sample(samples, "dmapsvc_device_memory_bytes", **place) == worker["memory_total"]
    assert sample(samples, "dmapsvc_device_memory_used_bytes", **place) > 2**20
