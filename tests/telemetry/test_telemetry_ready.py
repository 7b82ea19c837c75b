"""`/readyz` says all that keeps the service from taking work, and what to do about it."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import sqlalchemy as sa

from api.app import create_app
from api.dependencies import get_jobs
from dmapsvc.settings import Settings
from tests.api.bodies import nifti, two_balls
from tests.api.talk import assert_problem, serving
from tests.jobs.processes import eventually


def test_a_full_queue_is_not_ready_and_still_answers(tmp_path: Path) -> None:
    with serving(create_app(Settings(data=tmp_path, max_queue=1))) as client:
        assert client.get("/readyz").json() == {"status": "ready"}
        assert client.put("/v1/datasets/d/cases/a/mask", content=nifti(two_balls())).status_code == 202
        eventually(lambda: client.get("/readyz").status_code == 503)  # within two seconds
        assert_problem(client.get("/readyz"), 503, "1 jobs are waiting", "DMAPSVC_MAX_QUEUE")
        assert client.get("/v1/jobs").is_success


def test_a_disk_without_room_is_named_with_its_room(tmp_path: Path) -> None:
    with serving(create_app(Settings(data=tmp_path, min_free=2**60))) as client:
        assert_problem(client.get("/readyz"), 503, "spool", "staging", "GiB are free", "DMAPSVC_MIN_FREE")


def test_everything_that_is_not_so_is_told_at_once(tmp_path: Path) -> None:
    app = create_app(Settings(data=tmp_path, max_queue=1))
    with serving(app) as client:
        client.put("/v1/datasets/d/cases/a/mask", content=nifti(two_balls()))
        shutil.rmtree(tmp_path / "staging")
        assert_problem(client.get("/readyz"), 503, "jobs are waiting", "staging")


def test_many_who_ask_are_one_look(tmp_path: Path) -> None:
    looks: list[float] = []

    class Slow:
        def ping(self) -> None:
            looks.append(time.monotonic())

        def check_room(self) -> None:
            pass

    app = create_app(Settings(data=tmp_path))
    app.dependency_overrides[get_jobs] = Slow
    with serving(app) as client, ThreadPoolExecutor(8) as askers:
        began = time.monotonic()
        answers = list(askers.map(lambda _: client.get("/readyz"), range(100)))
        took = time.monotonic() - began
        assert all(answer.is_success for answer in answers)
        assert len(looks) <= 1 + took / 2
        eventually(lambda: client.get("/readyz") and len(looks) > 1)


def test_a_database_that_keeps_silent_is_told_in_time(tmp_path: Path) -> None:
    """So are the metrics, also while every thread that serves requests waits for it."""
    speak = threading.Event()

    class Silent:
        def __getattr__(self, _: str) -> Callable[..., None]:
            return lambda *_, **__: self._wait()

        def _wait(self) -> None:
            speak.wait(60)
            raise sa.exc.OperationalError("SELECT", {}, Exception("gone"))

    async def silent() -> Silent:
        return Silent()

    app = create_app(Settings(data=tmp_path))
    app.dependency_overrides[get_jobs] = silent
    with serving(app) as client, ThreadPoolExecutor(50) as askers:
        waiting = [askers.submit(client.get, "/v1/jobs") for _ in range(50)]
        try:
            answers = [client.get(path) for path in ("/metrics", "/readyz")]
            assert not any(one.done() for one in waiting)
        finally:
            speak.set()
    assert "dmapsvc_database_up 0.0" in answers[0].text
    assert_problem(answers[1], 503, "did not answer")
