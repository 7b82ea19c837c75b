"""Log lines: one each, in the form that is asked for, with the request and the job they are of."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from api.app import create_app
from api.dependencies import get_jobs
from dmapsvc.settings import Settings
from dmapsvc.telemetry.context import about, current, request_id, sane_id
from dmapsvc.telemetry.logs import start_logging
from tests.api.bodies import nifti, two_balls
from tests.api.talk import assert_problem, serving
from tests.jobs.processes import eventually
from tests.telemetry.conftest import Told


@pytest.fixture
def logging_again() -> Iterator[None]:
    """This process's logging is put back after the test."""
    root, engine = logging.getLogger(), logging.getLogger("dbos")
    before, of_engine, level = root.handlers[:], engine.handlers[:], root.level
    yield
    root.handlers[:], engine.handlers[:] = before, of_engine
    root.setLevel(level)
    logging.captureWarnings(False)


def lines(told: Told, part: Any) -> list[dict[str, Any]]:
    """The lines of a part's log; what is not JSON fails, but for the line that says where it listens."""
    said = told.talk.service.log(part).splitlines()
    return [json.loads(line) for line in said if not line.startswith("dmapsvc listens on http://")]


@pytest.mark.usefixtures("logging_again")
def test_a_text_line_says_whom_it_is_about(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("worker", "text")
    with about(request="upload-1", job="3f9ac2" + 58 * "0", run="2"):
        logging.getLogger("worker").info("hello %s", "there")
    logging.getLogger("worker").info("bye")
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("INFO worker: hello there [request upload-1, job 3f9ac2000000]")
    assert second.endswith("INFO worker: bye")


@pytest.mark.usefixtures("logging_again")
def test_a_message_is_one_line_of_text_and_a_traceback_stands_below(
    capsys: pytest.CaptureFixture[str],
) -> None:
    start_logging("worker", "text")
    logging.getLogger("worker").warning("case a%s", "\n2026-01-01 INFO api: all is well\x1b[2J\u202e")
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("worker").exception("failed")
    first, second, *below = capsys.readouterr().err.splitlines()
    assert first.endswith(r"worker: case a\n2026-01-01 INFO api: all is well\x1b[2J\u202e")
    assert second.endswith("worker: failed")
    assert (below[0], below[-1]) == ("Traceback (most recent call last):", "ValueError: broken")


@pytest.mark.usefixtures("logging_again")
def test_a_json_line_has_all_as_fields(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("worker", "json")
    with about(request="upload-1", job="3f9a", run="2"):
        logging.getLogger("dbos").warning("two\nlines", extra={"executor": "e"})
        try:
            raise ValueError("broken")
        except ValueError:
            logging.getLogger("worker").exception("failed")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert {
        key: first[key] for key in ("level", "logger", "message", "request", "job", "run", "executor")
    } == {
        "level": "WARNING",
        "logger": "dbos",
        "message": "two\nlines",
        "request": "upload-1",
        "job": "3f9a",
        "run": "2",
        "executor": "e",
    }
    assert first["service"] == "worker"
    assert first["time"].endswith("+00:00")
    assert "ValueError: broken" in second["traceback"]


def test_what_the_work_is_about_is_nested_and_ends() -> None:
    with about(request="r", job=None):
        with about(job="j"):
            assert current() == {"request": "r", "job": "j"}
        assert current() == {"request": "r"}
        seen: list[str | None] = []
        other = threading.Thread(target=lambda: seen.append(request_id()))
        other.start()
        other.join()
        assert seen == [None]
    assert current() == {}


@pytest.mark.parametrize("given", ["upload-1", "Root=1-67891233-abcdef012345678912345678", "a" * 128])
def test_a_sane_request_id_is_kept(given: str) -> None:
    assert sane_id(given) == given


@pytest.mark.parametrize("given", [None, "", "a b", "a\nb", "ä", "a" * 129, '"', "{}", "-x"])
def test_another_request_id_is_made_anew(given: str | None) -> None:
    made = sane_id(given)
    assert made != given
    assert made != sane_id(given)
    assert sane_id(made) == made


def test_every_answer_has_a_request_id(told: Told) -> None:
    for path, status in (("/healthz", 200), ("/v1/jobs", 200), ("/nothing", 404), ("/v1/jobs?x=1", 422)):
        answer = told.talk.http.get(path, headers={"X-Request-ID": "mine"})
        assert (answer.status_code, answer.headers["x-request-id"]) == (status, "mine")
    made = {told.talk.http.get("/healthz").headers["x-request-id"] for _ in range(2)}
    assert len(made) == 2


def test_a_bug_is_logged_with_the_id_that_its_answer_names(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def list(self, **_: object) -> None:
            raise RuntimeError("the inside")

    app = create_app(Settings(data=tmp_path))
    app.dependency_overrides[get_jobs] = Broken
    with serving(app) as client:
        answer = client.get("/v1/jobs", headers={"X-Request-ID": "mine"})
        again = client.get("/v1/datasets")
    assert_problem(answer, 500, "request mine in its log")
    assert answer.headers["x-request-id"] == "mine"
    assert again.is_success
    [record] = [record for record in caplog.records if record.exc_info]
    assert record.name == "api"
    assert "the inside" in caplog.text


def test_each_line_of_a_job_names_it_and_the_request(told: Told) -> None:
    body = nifti(two_balls())
    answer = told.talk.http.put(
        "/v1/datasets/lines/cases/a/mask", content=body, headers={"X-Request-ID": "upload-1"}
    )
    job = told.talk.done(answer)
    assert job["state"] == "done"
    mine = [line for line in lines(told, "worker") if "lines/a" in line["message"]]
    assert [line["message"].split()[0] for line in mine] == ["start", "done"]
    for line in mine:
        assert (line["job"], line["run"], line["request"]) == (job["id"], "1", "upload-1")
        assert line["service"] == "worker"


def test_a_request_is_one_line_without_its_query(told: Told) -> None:
    told.talk.http.get("/v1/jobs", params={"dataset": "patient-name"}, headers={"X-Request-ID": "asked"})
    told.talk.http.get("/healthz", headers={"X-Request-ID": "asked-often"})
    [line] = eventually(lambda: [line for line in lines(told, "api") if line.get("request") == "asked"])
    assert line["message"].startswith("GET /v1/jobs 200 in ")
    assert (line["method"], line["route"], line["status"]) == ("GET", "/v1/jobs", 200)
    assert not any("patient-name" in str(line) or "asked-often" in str(line) for line in lines(told, "api"))


def test_lines_of_the_server_are_json_too(told: Told) -> None:
    assert any(line["logger"].startswith("uvicorn") for line in lines(told, "api"))
    assert any("ready: backend" in line["message"] for line in lines(told, "worker"))


def test_a_client_that_hangs_up_is_a_line(told: Told) -> None:
    url = told.talk.http.base_url
    with socket.create_connection((url.host, url.port or 80)) as client:
        head = "PUT /v1/datasets/lines/cases/b/mask HTTP/1.1\r\nHost: x\r\nX-Request-ID: hung-up\r\n"
        client.sendall(f"{head}Content-Length: 100\r\n\r\nsome of it".encode())
    [line] = eventually(lambda: [line for line in lines(told, "api") if line.get("request") == "hung-up"])
    assert line["status"] >= 400
