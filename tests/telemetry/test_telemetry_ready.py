"""`/readyz` says all that keeps the service from taking work, and what to do about it."""

from __future__ import annotations

import shutil
from pathlib import Path

from api.app import create_app
from dmapsvc.settings import Settings
from tests.api.bodies import nifti, two_balls
from tests.api.talk import assert_problem, serving


def test_a_full_queue_is_not_ready_and_still_answers(tmp_path: Path) -> None:
    with serving(create_app(Settings(data=tmp_path, max_queue=1))) as client:
        assert client.get("/readyz").json() == {"status": "ready"}
        assert client.put("/v1/datasets/d/cases/a/mask", content=nifti(two_balls())).status_code == 202
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
