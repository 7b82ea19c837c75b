"""A worker and its GPU: real processes and a real queue; only the card is a fake, `tests/fakes/cupy`.

What is told of a fake: it is too small, it runs out of memory, it breaks once, it breaks each time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from demo.service import PATIENCE, ROOT, Service
from dmapsvc.errors import DeviceMissing
from dmapsvc.jobs import Job, State
from dmapsvc.jobs.engine import Jobs
from dmapsvc.settings import Settings
from dmapsvc.store import check
from tests.maps.fake_card import FAKES, fake_card
from tests.worker.uploads import cube, dataset, eventually, request
from worker.gpu import take_gpu

MIB = 1 << 20
SMALL, LARGE = cube(24), cube(100)  # of which a card must hold 0.1 and 9 MB

Start = Callable[..., Service]


@pytest.fixture
def start(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a worker with a fake card; `FAKE_GPU_…` variables say what it is like."""
    monkeypatch.setenv("PYTHONPATH", str(FAKES))
    with ExitStack() as stack:

        def start(device: str = "auto", **card: object) -> Service:
            for name, value in card.items():
                monkeypatch.setenv(f"FAKE_GPU_{name.upper()}", str(value))
            service = Service(settings.data, parts=("worker",), poll_seconds=0.02, attempts=2, device=device)
            stack.enter_context(service)
            eventually(lambda: "ready" in service.log("worker"))
            return service

        yield start


@pytest.fixture
def submit(settings: Settings, jobs: Jobs) -> Callable[..., Job]:
    """Submit a mask of a case."""
    return lambda mask, case: jobs.submit(request(settings, mask, case))[0]


def fallbacks(job: Job) -> list[str]:
    """The notes that say which backend could not."""
    return [note for note in job.notes if "could not" in note]


def test_what_fits_is_mapped_by_the_card_and_the_rest_by_the_cpu(
    start: Start, submit: Callable[..., Job], jobs: Jobs, settings: Settings
) -> None:
    start(memory=20 * MIB)
    small, large = (
        jobs.wait(submit(mask, case).id, PATIENCE) for mask, case in ((SMALL, "small"), (LARGE, "large"))
    )
    assert (small.state, small.backend, fallbacks(small)) == (State.DONE, "cuda", [])
    assert (large.state, large.backend, large.attempts) == (State.DONE, "numba", 1)
    cuda, cucim = fallbacks(large)
    assert cuda.startswith(
        "cuda could not take this volume (it takes about 0.02 GiB of the GPU's memory, of "
    )
    assert cuda.endswith(": mapped by numba.")
    assert cucim.startswith("cucim could not take this volume (it takes about ")
    assert dataset(settings).case("large").record.backend == "numba"
    assert not list(check(dataset(settings)))


def test_a_card_that_runs_out_in_the_middle_is_left_for_the_cpu(
    start: Start, submit: Callable[..., Job], jobs: Jobs
) -> None:
    service = start(memory=200 * MIB, taken=195 * MIB)
    now = jobs.wait(submit(LARGE, "large").id, PATIENCE)
    assert (now.state, now.backend, now.attempts) == (State.DONE, "numba", 1)
    assert fallbacks(now)[0].startswith(
        "cuda could not take this volume (the GPU's memory ran out: Out of memory"
    )
    assert jobs.wait(submit(SMALL, "small").id, PATIENCE).backend == "cuda"
    assert "ending" not in service.log("worker")


def test_a_card_that_breaks_once_is_used_again_by_the_next_process(
    start: Start, submit: Callable[..., Job], jobs: Jobs, settings: Settings, tmp_path: Path
) -> None:
    broken = tmp_path / "break"
    service = start(**{"break": broken})
    broken.touch()
    submitted = [submit(LARGE if case == "b" else SMALL, case) for case in "abcd"]
    ended = [jobs.wait(job.id, PATIENCE) for job in submitted]
    assert {(job.state, job.backend) for job in ended} == {(State.DONE, "cuda")}
    assert max(job.attempts for job in ended) == 2
    assert not broken.exists()
    assert "the process that runs jobs ended (1); starting it again" in service.log("worker")
    assert "Traceback" not in service.log("worker")
    assert not list(check(dataset(settings)))


def test_a_job_that_breaks_the_card_each_time_fails_with_that_reason_alone(
    start: Start, submit: Callable[..., Job], jobs: Jobs, tmp_path: Path
) -> None:
    broken = tmp_path / "break"
    service = start("cuda", **{"break": broken})
    broken.write_text(str(4 * MIB))  # what the large one has on the card, and the small ones have not
    large = submit(LARGE, "large")
    small = [submit(SMALL, case) for case in "abc"]
    ended = jobs.wait(large.id, PATIENCE)
    assert ended.state is State.FAILED
    assert ended.problem is not None
    assert ended.problem.type == "/problems/device-lost"
    assert "the GPU's context broke: cudaErrorIllegalAddress" in ended.problem.detail
    assert ended.attempts == 3  # at first it was not alone
    for job in (*small, submit(SMALL, "after")):
        done = jobs.wait(job.id, PATIENCE)
        assert (done.state, done.backend) == (State.DONE, "cuda")
    assert service.log("worker").count("lost the device in mask knees/large") == 3
    broken.unlink()
    assert jobs.wait(jobs.retry(large.id).id, PATIENCE).state is State.DONE


def test_a_card_that_is_broken_from_the_start_is_one_warning_and_the_cpu(
    start: Start, submit: Callable[..., Job], jobs: Jobs, tmp_path: Path
) -> None:
    (tmp_path / "break").write_text("0")
    service = start(**{"break": tmp_path / "break"})
    assert jobs.wait(submit(SMALL, "a").id, PATIENCE).backend == "numba"
    assert service.log("worker").count("backend cuda does not work here: the GPU's context broke") == 1


def test_a_worker_takes_the_gpu_that_is_named(start: Start, submit: Callable[..., Job], jobs: Jobs) -> None:
    start("cuda:1", count=2)
    assert jobs.wait(submit(SMALL, "a").id, PATIENCE).backend == "cuda"


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("cuda", "backend 'cuda' does not work here: CuPy finds no GPU. See nvidia-smi"),
        ("auto:1", "DMAPSVC_DEVICE=auto:1: there is no GPU 1 (CuPy finds no GPU). See nvidia-smi"),
    ],
)
def test_a_gpu_that_is_not_there_is_said_in_one_line(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, device: str, words: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(FAKES))
    monkeypatch.setenv("FAKE_GPU_COUNT", "0")
    monkeypatch.setenv("DMAPSVC_DEVICE", device)
    monkeypatch.setenv("DMAPSVC_DATA", str(settings.data))
    ended = subprocess.run(
        [sys.executable, "-m", "worker"], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
    )
    assert ended.returncode == 2
    (line,) = (line for line in ended.stderr.splitlines() if "runs as root" not in line)
    assert line.startswith(f"worker: {words}")


@pytest.mark.parametrize(
    ("device", "visible", "taken"),
    [
        ("auto", None, None),
        ("auto", "2,3", "2,3"),
        ("cuda:1", None, "1"),
        ("cuda:1", "0,1", "1"),
        ("cucim:0", "1,0", "1"),
    ],
)
def test_a_gpu_is_taken_among_those_that_may_be_seen(
    monkeypatch: pytest.MonkeyPatch, device: str, visible: str | None, taken: str | None
) -> None:
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible or "")
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    with fake_card(FAKE_GPU_COUNT="2"):
        take_gpu(Settings(device=device))
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == taken


def test_a_place_beyond_those_that_may_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    expected = "DMAPSVC_DEVICE=cuda:2: there is no GPU 2 among CUDA_VISIBLE_DEVICES=1,0"
    with fake_card(FAKE_GPU_COUNT="2"), pytest.raises(DeviceMissing, match=expected):
        take_gpu(Settings(device="cuda:2"))
