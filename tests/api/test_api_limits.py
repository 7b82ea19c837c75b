"""How much at once: requests under way, bodies that stop, voxels; and the names a service answers to."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from api.app import create_app
from api.gate import host_names
from api.limits import Limits
from dmapsvc.jobs.engine import Jobs
from dmapsvc.settings import Settings
from tests.api.bodies import nifti, two_balls
from tests.api.talk import assert_problem, serving

MASK = "/v1/datasets/d/cases/a/mask"


@pytest.fixture(scope="module")
def app_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data=tmp_path_factory.mktemp("limited"), idle_seconds=0.2, max_voxels=719)


@pytest.fixture(scope="module")
def limited(app_settings: Settings) -> Iterator[httpx.Client]:
    with serving(create_app(app_settings)) as client:
        yield client


def test_more_requests_than_may_be_are_told_to_come_again(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, max_requests=2)
    with serving(create_app(settings)) as client:
        job = client.put(MASK, content=nifti(two_balls())).headers["location"]

        def wait() -> httpx.Response:
            """Wait for the job's end, as soon as there is room to."""
            with httpx.Client(base_url=client.base_url, timeout=90, trust_env=False) as another:
                return until(lambda: another.get(job, params={"wait": 60}), 200)

        with ThreadPoolExecutor(2) as pool:
            waiting = [pool.submit(wait) for _ in range(2)]
            answer = until(lambda: client.get(job), 503)
            assert_problem(answer, 503, "2 requests are under way")
            assert int(answer.headers["retry-after"]) > 0
            for path in ("/healthz", "/readyz"):
                assert client.get(path).is_success
            jobs = Jobs(settings)
            jobs.cancel(job.rpartition("/")[2])
            jobs.close()
            assert [end.result().json()["state"] for end in waiting] == ["cancelled", "cancelled"]
        assert client.get(job).is_success


def until(ask: Callable[[], httpx.Response], status: int) -> httpx.Response:
    """The first answer of that status."""
    end = time.monotonic() + 60
    while (answer := ask()).status_code != status:
        assert time.monotonic() < end, answer
    return answer


def test_a_body_that_stops_coming_is_given_up(limited: httpx.Client, app_settings: Settings) -> None:
    url = limited.base_url
    with socket.create_connection((url.host, url.port or 80), timeout=30) as connection:
        connection.sendall(
            f"PUT {MASK} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\nbeginning".encode()
        )
        said = b""
        while block := connection.recv(65536):  # to the end: the connection is closed
            said += block
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in said
    assert not list(app_settings.spool.iterdir())


def test_what_comes_after_the_body_is_waited_for() -> None:
    """A client's hanging up is told by the same call as its body: that may take as long as it likes."""
    came: list[Message] = []

    async def app(_: Scope, receive: Receive, __: Send) -> None:
        came.append(await receive())
        came.append(await receive())

    async def run() -> None:
        messages: Iterator[Message] = iter(
            [{"type": "http.request", "more_body": False}, {"type": "http.disconnect"}]
        )

        async def receive() -> Message:
            await asyncio.sleep(0.05 if came else 0)
            return next(messages)

        async def send(_: Message) -> None: ...

        limits = Limits(app, requests=1, idle=0.01)
        await limits({"type": "http", "method": "PUT", "path": "/"}, receive, send)

    asyncio.run(run())
    assert [message["type"] for message in came] == ["http.request", "http.disconnect"]


def test_a_volume_of_too_many_voxels_is_refused_by_its_header(limited: httpx.Client) -> None:
    answer = limited.put(MASK, content=nifti(two_balls()))  # 6 × 10 × 12
    assert_problem(answer, 413, "720 voxels", "719", "DMAPSVC_MAX_VOXELS")


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "a@localhost:1", "[::1", "x" * 500]
)
def test_a_service_of_this_machine_answers_to_its_own_names_alone(limited: httpx.Client, host: str) -> None:
    assert_problem(limited.get("/v1/jobs", headers={"host": host}), 400, "DMAPSVC_HOSTS")
    assert_problem(limited.get("/metrics", headers={"host": host}), 400, "DMAPSVC_HOSTS")
    assert limited.get("/readyz", headers={"host": host}).is_success


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:9", "[::1]", "[::1]:8000"])
def test_its_own_names(limited: httpx.Client, host: str) -> None:
    assert limited.get("/v1/jobs", headers={"host": host}).is_success


def test_names_are_listed(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, hosts="maps.example.org, *.lab.example ")
    with serving(create_app(settings)) as client:
        for host, good in {
            "maps.example.org": True,
            "Maps.Example.Org:443": True,
            "a.lab.example": True,
            "lab.example": False,
            "evillab.example": False,
            "localhost": False,
        }.items():
            assert client.get("/v1/jobs", headers={"host": host}).is_success == good, host


def test_a_service_for_others_answers_to_any_name_unless_told() -> None:
    assert host_names(Settings(host="0.0.0.0")) == ()
    assert host_names(Settings(host="127.0.0.1", hosts="*")) == ()
    assert host_names(Settings(host="127.0.0.5"))[0] == "127.0.0.5"


def test_pages_of_listed_origins_may_call(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, cors_origins="https://viewer.example, https://other.example")
    asked = {"access-control-request-method": "GET", "access-control-request-headers": "authorization,range"}
    with serving(create_app(settings)) as client:
        for origin, allowed in {"https://viewer.example": True, "https://evil.example": False}.items():
            plain = client.get("/v1/jobs", headers={"origin": origin})
            assert (plain.headers.get("access-control-allow-origin") == origin) == allowed
            before = client.options("/v1/jobs", headers={"origin": origin, **asked})
            assert before.is_success == allowed
        refused = client.get("/v1/nothing", headers={"origin": "https://viewer.example"})
        assert refused.headers["access-control-allow-origin"] == "https://viewer.example"
        assert "etag" in refused.headers["access-control-expose-headers"]


def test_without_origins_no_page_may(limited: httpx.Client) -> None:
    answer = limited.get("/v1/jobs", headers={"origin": "https://viewer.example"})
    assert "access-control-allow-origin" not in answer.headers
