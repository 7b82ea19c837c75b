"""Collecting garbage: what is left behind goes, what lives or is needed stays, and a dry run only looks."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NoReturn

import pytest

from demo.service import PATIENCE, Service
from dmapsvc.errors import NotFound
from dmapsvc.jobs import State
from dmapsvc.jobs.engine import Jobs
from dmapsvc.keeping import collector
from dmapsvc.keeping.collector import collect
from dmapsvc.keeping.files import broken_off
from dmapsvc.keeping.tally import OLD
from dmapsvc.settings import Settings
from dmapsvc.spec import MapSpec
from dmapsvc.store import Dataset
from dmapsvc.store.absent import CLAIM_SIZE, new_claim
from dmapsvc.store.objects import Objects
from dmapsvc.store.staging import Staging
from dmapsvc.store.stores import create_dataset_at
from tests.cli.cli_run import Run
from tests.jobs.asking import fast, request
from tests.store import shelf


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = fast(tmp_path / "data")
    for folder in (Path(settings.store_location), settings.staging, settings.spool, settings.locks):
        folder.mkdir(parents=True)
    return settings


@pytest.fixture
def jobs(settings: Settings) -> Iterator[Jobs]:
    with Jobs(settings) as jobs:
        yield jobs


def found(settings: Settings, *, dry_run: bool = False) -> dict[str, int]:
    """How many of each kind were found, of those that there are any of."""
    return {tally.what: tally.count for tally in collect(settings, dry_run=dry_run) if tally.count}


def old(path: Path, content: bytes = b"content") -> Path:
    """A file that nobody has written to for long."""
    path.write_bytes(content)
    os.utime(path, (time.time() - 2 * OLD,) * 2)
    return path


def dead_entry(settings: Settings, dataset: str) -> Path:
    """An entry in staging that no process holds."""
    entry = settings.staging / dataset / "work" / "a~0123"
    (entry / "new").mkdir(parents=True)
    (entry / "new" / "voxels").write_bytes(bytes(1000))
    return entry


def files(folder: Path) -> set[Path]:
    """Every file below `folder`, but the database's and the locks of cases."""
    mine = (path for path in folder.rglob("*") if path.is_file() and "jobs.sqlite" not in path.name)
    return {path for path in mine if not path.is_relative_to(folder / "staging" / "knees" / "locks")}


LEFTOVERS: dict[str, Callable[[Settings], Path]] = {
    "uploads that broke off": lambda settings: old(settings.spool / "0123.part"),
    "uploads of no job": lambda settings: old(settings.spool / "0123"),
    "cases never published": lambda settings: dead_entry(settings, "gone"),
    "locks of dead workers": lambda settings: old(settings.locks / "0123.lock"),
    "temporary files": lambda settings: old(Path(settings.store_location) / ".ready-0123"),
}


@pytest.mark.parametrize("what", LEFTOVERS)
def test_what_is_left_behind_is_found_and_then_removed(settings: Settings, what: str) -> None:
    left = LEFTOVERS[what](settings)
    assert found(settings, dry_run=True) == {what: 1}
    assert left.exists()
    assert found(settings) == {what: 1}
    assert not left.exists()
    assert found(settings) == {}


def test_locking_wants_a_file_open_for_writing_and_what_cannot_be_locked_stays(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS makes POSIX locks of flock: an exclusive one of a descriptor that only reads fails with EBADF."""
    real = fcntl.flock

    def as_nfs(file: BinaryIO, operation: int) -> None:
        if operation & fcntl.LOCK_EX and not file.writable():
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        real(file, operation)

    def without_locks(file: BinaryIO, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    left = old(settings.spool / "0123.part")
    monkeypatch.setattr(fcntl, "flock", without_locks)
    assert broken_off(settings.spool) == (0, 0)
    monkeypatch.setattr(fcntl, "flock", as_nfs)
    assert broken_off(settings.spool) == (1, len(b"content"))
    assert not left.exists()


def test_a_kind_that_cannot_be_collected_stops_no_other(
    settings: Settings, cli: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    left = old(settings.locks / "0123.lock")
    monkeypatch.setattr(collector, "broken_off", broken)
    run = cli("gc", "--data", settings.data)
    assert run.code == 1
    assert "uploads that broke off: Input/output error" in run.err
    assert not left.exists()


def test_what_lives_or_is_needed_stays(settings: Settings, jobs: Jobs) -> None:
    dataset = Dataset.create(
        Path(settings.store_location) / "knees.zarr", MapSpec(), staging=settings.staging / "knees"
    )
    staging = Staging(settings.staging / "knees", dataset.path)
    waits, cancelled = request(settings, "waits"), request(settings, "cancelled")
    jobs.submit(waits)
    jobs.cancel(jobs.submit(cancelled)[0].id)
    for one in (waits, cancelled):
        os.utime(settings.spool / (one.spool or ""), (time.time() - 2 * OLD,) * 2)
    (settings.spool / "fresh").write_bytes(b"a job takes it over this moment")
    staging.held("b").mkdir(parents=True)
    (staging.held("b") / "zarr.json").write_text("{}")
    with ExitStack() as stack:
        for path in (settings.spool / "0123.part", settings.locks / "0123.lock"):
            fcntl.flock(stack.enter_context(old(path).open("r+b")), fcntl.LOCK_EX)
        entry = stack.enter_context(staging.entry("a"))
        (entry / "new").mkdir()
        before = files(settings.data)
        assert found(settings) == {}
        assert files(settings.data) == before
        assert entry.is_dir()
        assert (settings.locks / "0123.lock").exists()
    assert jobs.live("knees", "waits")


def test_what_a_dead_publisher_swapped_out_is_put_back(settings: Settings) -> None:
    dataset = Dataset.create(
        Path(settings.store_location) / "knees.zarr", MapSpec(), staging=settings.staging / "knees"
    )
    entry = dead_entry(settings, "knees")
    (entry / "old").mkdir()
    (entry / "old" / "zarr.json").write_text("{}")
    assert found(settings) == {"cases never published": 1}
    assert dataset.cases() == ["a"]
    assert not entry.exists()


def test_what_is_left_in_a_bucket_is_told_before_it_goes(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shelf.moto() as endpoint:
        shelf.use(monkeypatch, endpoint, "ward")
        bucket = settings.model_copy(update={"store": "s3://ward/lab"})
        create_dataset_at("s3://ward/lab/knees.zarr", MapSpec(labels=(5,)))
        objects = Objects("s3://ward/lab/knees.zarr")
        objects.overwrite("dead/zarr.json", new_claim())
        objects.overwrite("dead/phi/0/c/0/0/0", bytes(1000))
        objects.overwrite("copied/phi/0/c/0/0/0", bytes(1000))
        (tally,) = [tally for tally in collect(bucket, dry_run=True) if tally.count]
        assert (tally.what, tally.count, tally.bytes) == ("cases never published", 1, 1000 + CLAIM_SIZE)
        assert found(bucket) == {"cases never published": 1}
        assert found(bucket) == {}
        assert [entry.key for entry in objects.entries("copied/")] == ["copied/phi/0/c/0/0/0"]


def test_jobs_are_kept_for_days_and_then_forgotten_with_their_uploads(settings: Settings, jobs: Jobs) -> None:
    job, _ = jobs.submit(request(settings, "cancelled"))
    waiting, _ = jobs.submit(request(settings, "waiting"))
    jobs.cancel(job.id)
    assert found(settings) == {}
    brief = settings.model_copy(update={"keep_days": 1e-9})
    (tally,) = [tally for tally in collect(brief, dry_run=True) if tally.count]
    assert (tally.what, tally.count, tally.bytes) == ("jobs that ended long ago", 1, len("first"))
    assert jobs.retry(job.id).state is State.QUEUED  # its upload is there still
    jobs.cancel(job.id)
    assert found(brief) == {"jobs that ended long ago": 2}  # two runs
    with pytest.raises(NotFound):
        jobs.get(job.id)
    assert jobs.get(waiting.id).state is State.QUEUED
    again, created = jobs.submit(request(settings, "cancelled"))
    assert (again.id, again.state, created) == (job.id, State.QUEUED, True)


def test_a_folder_that_is_none_is_said_and_not_made(tmp_path: Path, cli: Callable[..., Run]) -> None:
    run = cli("gc", "--data", tmp_path / "typo")
    assert run.code == 2
    assert "typo: no such folder" in run.error
    assert not list(tmp_path.iterdir())


def test_the_command_lists_each_kind(settings: Settings, cli: Callable[..., Run]) -> None:
    left = old(settings.spool / "0123.part", bytes(2_500_000))
    looked = cli("gc", "--data", settings.data, "--dry-run")
    assert (looked.code, looked.err) == (0, "")
    assert ["uploads", "that", "broke", "off", "1", "2.5"] in [
        line.split() for line in looked.out.splitlines()
    ]
    assert left.exists()
    assert cli("gc", "--data", settings.data).out.splitlines()[0].startswith("removed")
    assert not left.exists()


def test_a_worker_collects_now_and_then(settings: Settings) -> None:
    with Service(settings.data, parts=("worker",), gc_seconds=0.2, device="scipy") as service:
        for name in ("first", "second"):
            left = old(settings.spool / name)
            end = time.monotonic() + PATIENCE
            while left.exists():
                assert time.monotonic() < end, service.log("worker")
                time.sleep(0.02)
        assert "removed 1 uploads of no job" in service.log("worker")
