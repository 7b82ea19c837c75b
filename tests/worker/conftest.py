"""A service's folder with an empty dataset, and its queue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dmapsvc.jobs.engine import Jobs
from dmapsvc.settings import Settings
from dmapsvc.store import open_store
from tests.worker.uploads import SPEC


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(data=tmp_path)
    settings.spool.mkdir()
    store = open_store(settings.store_location, settings.staging)
    store.prepare()
    store.create("knees", SPEC)
    return settings


@pytest.fixture
def jobs(settings: Settings) -> Iterator[Jobs]:
    with Jobs(settings) as jobs:
        yield jobs
