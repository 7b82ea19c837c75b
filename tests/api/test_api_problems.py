"""One shape for every error, and nothing of the inside in it."""

from __future__ import annotations

import errno
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
import sqlalchemy as sa

from api.app import create_app
from api.dependencies import get_jobs, get_library
from dmapsvc.errors import Busy
from dmapsvc.settings import Settings
from tests.api.bodies import nifti, two_balls
from tests.api.talk import Talk, assert_problem, serving
from tests.jobs.processes import eventually


def test_an_unknown_address(talk: Talk) -> None:
    for path in ("/nothing", "/v1/nothing", "/v1/datasets/d/cases/c/nothing"):
        assert_problem(talk.http.get(path), 404, path, "/docs")


def test_a_wrong_method(talk: Talk) -> None:
    answer = talk.http.patch("/v1/datasets")
    assert_problem(answer, 405, "PATCH")
    assert answer.headers["allow"] == "GET"
    assert_problem(talk.http.post("/zarr/d.zarr/zarr.json"), 405, "POST")


def test_a_body_that_is_no_json(talk: Talk) -> None:
    answer = talk.http.put("/v1/datasets/d", content=b"{", headers={"content-type": "application/json"})
    assert_problem(answer, 422)


@pytest.fixture
def app_client(tmp_path: Path) -> Iterator[httpx.Client]:
    """The app in this process, its queue broken in ways that no request can bring about."""
    app = create_app(Settings(data=tmp_path))

    class Broken:
        def list(self, **_: object) -> None:
            raise RuntimeError("secret of /the/inside.py")

        def live(self, *_: object) -> tuple[object, ...]:
            return ()

        def submit(self, *_: object, **__: object) -> None:
            raise Busy("the queue is full", remedy="Try again later")

        def owns(self, *_: object) -> bool:
            return False

        def has_live(self, *_: object) -> bool:
            return False

        def ping(self) -> None:
            raise OSError("password=secret")

    app.dependency_overrides[get_jobs] = Broken
    with serving(app) as client:
        yield client


def test_an_unexpected_error_says_only_its_number(
    app_client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, logger="api"):
        problem = assert_problem(app_client.get("/v1/jobs"), 500, "request ")
    assert "secret" not in problem["detail"]
    number = problem["detail"].partition("request ")[2].partition(" ")[0]
    assert number in caplog.text


def test_a_full_queue_says_when_to_come_again(app_client: httpx.Client, tmp_path: Path) -> None:
    answer = app_client.put("/v1/datasets/d/cases/a/mask", content=nifti(two_balls()))
    assert_problem(answer, 503, "the queue is full")
    assert int(answer.headers["retry-after"]) > 0
    assert not list((tmp_path / "spool").iterdir())
    assert not list((tmp_path / "store").iterdir())


def test_a_service_without_its_database_is_alive_but_not_ready(app_client: httpx.Client) -> None:
    assert app_client.get("/healthz").json() == {"status": "alive"}
    problem = assert_problem(app_client.get("/readyz"), 503, "the database")
    assert "secret" not in problem["detail"]


@pytest.mark.parametrize("folder", ["spool", "store", "staging"])
def test_a_service_whose_folder_is_gone_is_not_ready(tmp_path: Path, folder: str) -> None:
    app = create_app(Settings(data=tmp_path))
    with serving(app) as client:
        assert client.get("/readyz").json() == {"status": "ready"}
        assert not list((tmp_path / folder).iterdir())
        (tmp_path / folder).rmdir()
        eventually(lambda: client.get("/readyz").status_code == 503)  # within two seconds
        assert_problem(client.get("/readyz"), 503, folder)


def sqlite_fault(code: int) -> sa.exc.OperationalError:
    cause = sqlite3.OperationalError("secret")
    cause.sqlite_errorcode = code
    return sa.exc.OperationalError("SELECT secret", {}, cause)


def postgres_fault(state: str) -> sa.exc.OperationalError:
    return sa.exc.OperationalError("SELECT secret", {}, psycopg.errors.lookup(state)("secret"))


FAULTS = {
    "a lost database": (sqlite_fault(sqlite3.SQLITE_BUSY), 503),
    "an exhausted pool": (sa.exc.TimeoutError("secret"), 503),
    "a full disk": (OSError(errno.ENOSPC, "secret", "/secret"), 507),
    "a full quota": (OSError(errno.EDQUOT, "secret"), 507),
    "a database on a full disk": (sqlite_fault(sqlite3.SQLITE_FULL), 507),
    "a Postgres on a full disk": (postgres_fault("53100"), 507),
    "a Postgres that shuts down": (postgres_fault("57P01"), 503),
    "any other fault of the file system": (OSError(errno.EIO, "secret"), 500),
    "a bug": (RuntimeError("secret"), 500),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_while_a_job_is_submitted_leaves_nothing(tmp_path: Path, fault: str) -> None:
    error, status = FAULTS[fault]

    class Faulty:
        def has_live(self, *_: object) -> bool:
            return False

        def live(self, *_: object) -> tuple[object, ...]:
            return ()

        def submit(self, *_: object, **__: object) -> None:
            raise error

        def owns(self, *_: object) -> bool:
            return False

    app = create_app(Settings(data=tmp_path))
    app.dependency_overrides[get_jobs] = Faulty
    with serving(app) as client:
        client.put("/v1/datasets/old", json={"names": {"5": "femur"}})
        before = client.get("/v1/datasets").json()
        for name in ("old", "new"):
            answer = client.put(
                f"/v1/datasets/{name}/cases/a/mask?labels=5",
                content=nifti(two_balls()),
                headers={"connection": "close"},  # as the server does itself after a bug
            )
            problem = assert_problem(answer, status)
            assert "secret" not in problem["detail"]
            assert ("retry-after" in answer.headers) == (status == 503)
        assert client.get("/v1/datasets").json() == before
    assert not list((tmp_path / "spool").iterdir())


def test_a_nul_in_a_query_is_refused(talk: Talk) -> None:
    for name in ("dataset", "case"):
        assert_problem(talk.http.get(f"/v1/jobs?{name}=a%00b"), 422, name, "NUL")


def test_dependencies_can_be_overridden(tmp_path: Path) -> None:
    app = create_app(Settings(data=tmp_path))

    class Empty:
        def datasets(self) -> list[object]:
            return []

    app.dependency_overrides[get_library] = Empty
    with serving(app) as client:
        assert client.get("/v1/datasets").json() == {"datasets": []}
