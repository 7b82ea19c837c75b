"""Traces: what arrives at a receiver on a socket, in one trace from the request to the job's stages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dmapsvc.errors import BadFile
from dmapsvc.telemetry.tracing import span, start_tracing, stop_tracing
from tests.api.bodies import nifti, two_balls
from tests.jobs.processes import eventually
from tests.telemetry.conftest import Told
from tests.telemetry.receiver import Receiver, Span, receiving

SECRET = "Zyxwvut"
TRACE, CALLER = 16 * "ab", 8 * "cd"
UPLOAD = "PUT /v1/datasets/{dataset}/cases/{case}/mask"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """Where this process sends its traces."""
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        start_tracing("test")
        yield receiver
        stop_tracing()


def upload(told: Told, case: str, **headers: str) -> str:
    """Publish a case; the job's id."""
    address = f"/v1/datasets/traced/cases/{case}/mask"
    job = told.talk.done(told.talk.http.put(address, content=nifti(two_balls()), headers=headers))
    assert job["state"] == "done"
    return str(job["id"])


def test_a_request_its_job_and_the_stages_are_one_trace(told: Told) -> None:
    job = upload(told, "a", traceparent=f"00-{TRACE}-{CALLER}-01", **{"X-Request-ID": "traced-a"})

    def arrived() -> list[Span]:
        spans = [span for span in told.traces.spans if span.trace == TRACE]
        return spans if len(spans) >= 5 else []

    spans = {span.name: span for span in eventually(arrived)}
    assert set(spans) == {UPLOAD, "job mask", "read", "map", "publish"}
    request, ran = spans[UPLOAD], spans["job mask"]
    assert (request.parent, request.service) == (CALLER, "dmapsvc-api")
    assert request.attributes["dmapsvc.request"] == "traced-a"
    assert (ran.parent, ran.service) == (request.id, "dmapsvc-worker")
    assert ran.attributes == {"dmapsvc.job": job, "dmapsvc.dataset": "traced", "dmapsvc.case": "a"}
    assert {spans[stage].parent for stage in ("read", "map", "publish")} == {ran.id}


def test_a_request_of_no_trace_begins_one(told: Told) -> None:
    job = upload(told, "b")
    [ran] = eventually(
        lambda: [span for span in told.traces.named("job mask") if span.attributes["dmapsvc.job"] == job]
    )
    [request] = [span for span in told.traces.named(UPLOAD) if span.id == ran.parent]
    assert request.parent == ""
    assert request.trace == ran.trace != TRACE


def test_what_machines_ask_every_few_seconds_is_not_traced(told: Told) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert told.talk.http.get(path).is_success
    upload(told, "c")
    eventually(lambda: len(told.traces.named(UPLOAD)) > 0)
    names = " ".join(span.name for span in told.traces.spans)
    assert not any(path in names for path in ("/healthz", "/readyz", "/metrics"))


def test_of_what_fails_only_the_kind_of_error_is_traced(receiver: Receiver) -> None:
    """Errors of libraries that read files quote them, and so do tracebacks of ours that come from those."""
    with pytest.raises(BadFile), span("refused"):
        raise BadFile(f"{SECRET}: no volume") from ValueError(SECRET)
    with pytest.raises(ValueError, match=SECRET), span("broken"):
        raise ValueError(SECRET)
    stop_tracing()
    eventually(lambda: len(receiver.spans) == 2)
    assert {one.name: one.status for one in receiver.spans} == {
        "refused": "A file that cannot be read as a volume",
        "broken": "ValueError",
    }
    assert not any(SECRET.encode() in body for body in receiver.bodies)
