"""An upload whose job may have been accepted, though the database did not say so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from api.app import create_app
from dmapsvc.errors import Busy
from dmapsvc.jobs import Job, Request
from dmapsvc.jobs.engine import Jobs
from dmapsvc.settings import Settings
from tests.api.bodies import nifti, two_balls
from tests.api.talk import serving

MASK = nifti(two_balls())
ADDRESS = "/v1/datasets/d/cases/a/mask"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path)


@pytest.fixture
def client(settings: Settings) -> Iterator[httpx.Client]:
    with serving(create_app(settings)) as client:
        yield client


def uploads(settings: Settings) -> list[bytes]:
    """What the files in the spool hold."""
    return [path.read_bytes() for path in settings.spool.iterdir()]


def away() -> sa.exc.OperationalError:
    return sa.exc.OperationalError("COMMIT", None, Exception("server closed the connection unexpectedly"))


def test_a_commit_whose_answer_is_lost_keeps_upload_and_dataset(
    client: httpx.Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = Jobs.submit

    def lose_the_answer(jobs: Jobs, request: Request, **values: Any) -> tuple[Job, bool]:
        submit(jobs, request, **values)
        raise away()

    with monkeypatch.context() as patch:
        patch.setattr(Jobs, "submit", lose_the_answer)
        assert client.put(ADDRESS, content=MASK, params={"labels": "5"}).status_code == 503
    assert uploads(settings) == [MASK]
    assert client.get("/v1/datasets/d").json()["spec"]["labels"] == [5]
    assert client.put(ADDRESS, content=MASK).json()["state"] == "queued"
    assert uploads(settings) == [MASK]


def test_an_upload_stays_where_nobody_can_say_whether_it_was_accepted(
    client: httpx.Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise away()

    monkeypatch.setattr(Jobs, "submit", fail)
    monkeypatch.setattr(Jobs, "owns", fail)
    assert client.put(ADDRESS, content=MASK).status_code == 503
    assert uploads(settings) == [MASK]


def test_a_job_that_was_refused_leaves_neither_upload_nor_dataset(
    client: httpx.Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(jobs: Jobs, request: Request, **_: Any) -> tuple[Job, bool]:
        raise Busy("the queue is full")

    monkeypatch.setattr(Jobs, "submit", refuse)
    assert client.put(ADDRESS, content=MASK).status_code == 503
    assert not uploads(settings)
    assert client.get("/v1/datasets/d").status_code == 404
