"""Whatever goes wrong on the way is one of our errors, with a remedy, and leaves nothing half done."""

from __future__ import annotations

import pickle
import socket
import threading
from pathlib import Path

import pytest

from dmapsvc.client import Client
from dmapsvc.errors import BadInput, ServerProblem, ServerUnreachable
from tests.client.client_stub import Answer, Stub, job_json

DATASET = "/v1/datasets/knees"
JOB = "/v1/jobs/" + "ab" * 32
PHI = DATASET + "/cases/a/phi.nii.gz"


def test_the_servers_problem_comes_through(stub: Stub) -> None:
    stub.on("GET", DATASET, Answer.problem(409, "another mask is published."))
    with Client(stub.url) as client, pytest.raises(ServerProblem) as caught:
        client.dataset("knees")
    problem = caught.value.problem
    assert (problem.type, problem.status) == ("/problems/conflict", 409)
    assert str(caught.value) == "another mask is published."


def test_a_full_queue_says_when_to_come_again(stub: Stub) -> None:
    stub.on("GET", DATASET, Answer.problem(503, "full.", retry_after="7"))
    with Client(stub.url) as client, pytest.raises(ServerProblem) as caught:
        client.dataset("knees")
    assert caught.value.retry_after == 7
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.problem == caught.value.problem


def test_nobody_there(free_port: int) -> None:
    with Client(f"http://127.0.0.1:{free_port}") as client, pytest.raises(ServerUnreachable) as caught:
        client.datasets()
    assert f"127.0.0.1:{free_port}" in str(caught.value)
    assert "make serve" in str(caught.value)
    assert "URL" in str(caught.value)


def test_a_proxy_of_the_environment_is_not_the_way_to_this_machine(
    stub: Stub, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port}")
    monkeypatch.setenv("NO_PROXY", "")
    stub.on("GET", "/v1/datasets", Answer.json({"datasets": []}))
    with Client(stub.url) as client:
        assert client.datasets() == []


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            Client(url, timeout=0.1) as client,
            pytest.raises(ServerUnreachable, match=r"no answer within 0\.1 s"),
        ):
            client.datasets()


@pytest.mark.parametrize("status", [200, 301, 502])
def test_a_page_of_html_is_no_answer(stub: Stub, status: int, tmp_path: Path) -> None:
    page = Answer(b"<h1>Bad Gateway</h1>", status, {"content-type": "text/html; charset=utf-8"})
    stub.on("GET", DATASET, page)
    stub.on("GET", PHI, page)
    with Client(stub.url) as client:
        with pytest.raises(ServerUnreachable) as caught:
            client.dataset("knees")
        with pytest.raises(ServerUnreachable, match="text/html"):
            client.download("knees", "a", "phi.nii.gz", tmp_path / "phi.nii.gz")
    assert f"{status} with text/html" in str(caught.value)
    assert "proxy" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("body", [b"[]", b"{", b"", b'{"elsewhere": 1}'])
def test_json_that_is_not_ours_is_no_answer(stub: Stub, body: bytes) -> None:
    stub.on("GET", "/v1/datasets", Answer(body, 200, {"content-type": "application/json"}))
    stub.on("GET", "/v1/jobs", Answer(body, 200, {"content-type": "application/json"}))
    with Client(stub.url) as client:
        with pytest.raises(ServerUnreachable):
            client.datasets()
        with pytest.raises(ServerUnreachable):
            list(client.jobs())


def test_a_download_that_breaks_off_leaves_nothing(stub: Stub, tmp_path: Path) -> None:
    stub.on("GET", PHI, Answer(b"half", cut=4))
    with Client(stub.url) as client, pytest.raises(ServerUnreachable, match="broke off"):
        client.download("knees", "a", "phi.nii.gz", tmp_path / "phi.nii.gz")
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_is_refused_leaves_what_was_there(stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "phi.nii.gz").write_bytes(b"old")
    stub.on("GET", PHI, Answer.problem(404, "no case a."))
    with Client(stub.url) as client, pytest.raises(ServerProblem, match="no case a"):
        client.download("knees", "a", "phi.nii.gz", tmp_path / "phi.nii.gz")
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


def test_a_download_into_a_folder_that_is_missing_says_so(stub: Stub, tmp_path: Path) -> None:
    stub.on("GET", PHI, Answer(b"phi"))
    with Client(stub.url) as client, pytest.raises(BadInput, match="No such file"):
        client.download("knees", "a", "phi.nii.gz", tmp_path / "nowhere" / "phi.nii.gz")


def test_a_refusal_before_the_body_has_passed_is_heard(tmp_path: Path) -> None:
    """A server may answer 413 and hang up while a large body is still on its way."""
    mask = tmp_path / "a.nii.gz"
    mask.write_bytes(bytes(20_000_000))
    with (
        _Refuser(Answer.problem(413, "too large.").body) as url,
        Client(url) as client,
        pytest.raises((ServerProblem, ServerUnreachable)) as caught,
    ):
        client.put_mask("knees", "a", mask)
    assert "too large." in str(caught.value) or "broke off" in str(caught.value)


class _Refuser:
    """Answers 413 after the headers, reads no body, and hangs up."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._answer)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._socket.close()

    def _answer(self) -> None:
        connection, _ = self._socket.accept()
        with connection:
            connection.recv(4096)
            head = "HTTP/1.1 413 Too Large\r\ncontent-type: application/problem+json\r\nconnection: close\r\n"
            connection.sendall(f"{head}content-length: {len(self._body)}\r\n\r\n".encode() + self._body)


@pytest.mark.parametrize("change", [{"state": "asleep"}, {"id": None}, {"created": "yesterday"}])
def test_a_job_of_another_version_is_said_to_be_one(stub: Stub, change: dict[str, object]) -> None:
    data = {name: value for name, value in job_json(**change).items() if value is not None or name != "id"}
    stub.on("GET", JOB, Answer.json(data))
    with Client(stub.url) as client, pytest.raises(ServerUnreachable, match="version"):
        client.job("ab" * 32)


def test_a_field_that_a_later_version_adds_is_passed_over(stub: Stub) -> None:
    stub.on("GET", JOB, Answer.json(job_json(colour="blue")))
    with Client(stub.url) as client:
        assert client.job("ab" * 32).run == 1
