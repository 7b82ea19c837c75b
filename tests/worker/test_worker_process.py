"""`python -m worker` as it is run: the real pipeline, real signals."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from scipy import ndimage

from demo.service import PATIENCE, ROOT, Service
from dmapsvc.jobs import Kind, State
from dmapsvc.jobs.engine import Jobs
from dmapsvc.settings import Settings
from dmapsvc.spec import MapSpec
from dmapsvc.store import check
from tests.worker.uploads import cube, dataset, eventually, request


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    with Service(settings.data, parts=("worker",), poll_seconds=0.02, attempts=2, device="numba") as service:
        yield service


def test_masks_and_images_are_published_and_bad_ones_fail(
    service: Service, jobs: Jobs, settings: Settings
) -> None:
    mask = cube(24)
    fractional = mask.astype(np.float32)
    fractional[1, 2, 3] = 1.5
    image = np.random.default_rng(1).normal(size=mask.shape).astype(np.float32)
    asked = {
        "image": request(settings, image, kind=Kind.IMAGE),
        "mask": request(settings, mask),
        "bad": request(settings, fractional, "b"),
        "stale": request(settings, mask, "c", spec=MapSpec(labels=(9,))),
    }
    submitted = {name: jobs.submit(one)[0] for name, one in asked.items()}
    ended = {name: jobs.wait(job.id, PATIENCE) for name, job in submitted.items()}
    assert {name: job.state for name, job in ended.items()} == {
        "image": State.DONE,
        "mask": State.DONE,
        "bad": State.FAILED,
        "stale": State.FAILED,
    }
    bad, stale, done = ended["bad"].problem, ended["stale"].problem, ended["mask"]
    assert bad is not None
    assert "knee.npy" in bad.detail
    assert "1.5" in bad.detail
    assert stale is not None
    assert stale.status == 409
    assert set(done.seconds) == {"read", "map", "publish"}
    assert done.backend == "numba"

    case = dataset(settings).case("a")
    distance = np.where(mask, ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(mask == 0))
    expected = np.zeros_like(distance)
    for region in (mask == 0, mask == 3):
        expected[region] = distance[region].max() - distance[region]
    np.testing.assert_allclose(case.phi_values(), expected, atol=0.01)
    assert case.record.id == done.id
    assert case.record.image is not None
    eventually(lambda: not list(settings.spool.iterdir()))
    assert str(settings.data) not in f"{ended}"


def test_killed_or_stopped_in_the_middle_of_a_job_the_next_one_does_it(
    service: Service, jobs: Jobs, settings: Settings
) -> None:
    job, _ = jobs.submit(request(settings, cube(160)))
    eventually(lambda: jobs.get(job.id).stage is not None)
    service.kill9("worker")
    assert jobs.get(job.id).state is State.RUNNING
    service.start("worker")
    eventually(lambda: jobs.get(job.id).attempts == 2)
    assert service.stop("worker") == 0
    assert jobs.get(job.id).state in (State.QUEUED, State.DONE)
    service.start("worker")
    assert jobs.wait(job.id, PATIENCE).state is State.DONE
    assert not list(check(dataset(settings)))
    assert "Traceback" not in service.log("worker")


def test_a_child_that_dies_is_started_again_and_one_without_a_parent_ends(
    service: Service, jobs: Jobs, settings: Settings
) -> None:
    parent = psutil.Process(service.process("worker").pid)
    eventually(lambda: "ready" in service.log("worker"))
    (first,) = parent.children()
    first.kill()
    job, _ = jobs.submit(request(settings, cube(24)))
    assert jobs.wait(job.id, PATIENCE).state is State.DONE
    (second,) = parent.children()
    assert second.pid != first.pid
    parent.kill()
    second.wait(PATIENCE)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("DEVICE", "abacus", "'abacus'; wanted auto, cuda, cucim, numba or scipy"),
        ("DEVICE", "numba:1", "as in cuda:1"),
        ("ATTEMPTS", "0", "DMAPSVC_ATTEMPTS"),
    ],
)
def test_what_cannot_start_says_why_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(f"DMAPSVC_{variable}", value)
    monkeypatch.setenv("DMAPSVC_DATA", str(tmp_path))
    ended = subprocess.run(
        [sys.executable, "-m", "worker"], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("worker: ")
    assert words in line
