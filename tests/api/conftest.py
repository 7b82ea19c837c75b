"""The services that the tests of the API talk to, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from demo.service import Service
from dmapsvc.pipeline import bytes_per_voxel
from tests.api.talk import Talk


@pytest.fixture(scope="session")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An API without a worker, so that jobs stay queued; bodies to 1 MB, volumes to 100,000 voxels."""
    folder = tmp_path_factory.mktemp("quiet")
    with Service(
        folder, ("api",), max_body=10**6, memory_budget=100_000 * bytes_per_voxel("auto")
    ) as service:
        yield service


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An API and a worker."""
    with Service(tmp_path_factory.mktemp("whole")) as service:
        yield service


@pytest.fixture
def talk(quiet: Service) -> Iterator[Talk]:
    """A way to talk to the API without a worker."""
    with httpx.Client(base_url=quiet.url, trust_env=False, timeout=30) as http:
        yield Talk(http, quiet)


@pytest.fixture
def work(whole: Service) -> Iterator[Talk]:
    """A way to talk to the API with a worker."""
    with httpx.Client(base_url=whole.url, trust_env=False, timeout=30) as http:
        yield Talk(http, whole)
