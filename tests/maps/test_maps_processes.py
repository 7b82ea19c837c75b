"""The numba backend among threads and processes, and on an installation that cannot be written to."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import dmapsvc
from dmapsvc.maps import penalty_map
from tests.maps.reference import ellipsoids


def test_four_threads_at_once() -> None:
    volumes = [ellipsoids((30, 40, 50), 3, seed) for seed in range(4)]
    alone = [penalty_map(volume, backend="numba") for volume in volumes]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            together = pool.map(lambda volume: penalty_map(volume, backend="numba", threads=2), volumes)
            for expected, found in zip(alone, together, strict=True):
                np.testing.assert_array_equal(found.values, expected.values)
                assert found.regions == expected.regions


def test_a_process_forked_after_a_call() -> None:
    volume = ellipsoids((30, 40, 50), 3)
    expected = penalty_map(volume, backend="numba", threads=2).values
    with multiprocessing.get_context("fork").Pool(1) as pool:
        found = pool.apply_async(_phi, (volume,)).get(timeout=60)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(penalty_map(volume, backend="numba", threads=2).values, expected)


def _phi(volume: NDArray[np.uint8]) -> NDArray[np.float32]:
    return penalty_map(volume, backend="numba", threads=2).values


@pytest.fixture
def read_only(tmp_path: Path) -> Path:
    """A copy of the package whose cache folder is a file, so that not even root can write there."""
    package = tmp_path / "site" / "dmapsvc"
    source = Path(dmapsvc.__file__).parent
    shutil.copytree(source / "maps", package / "maps", ignore=shutil.ignore_patterns("__pycache__"))
    for module in source.glob("*.py"):
        shutil.copy(module, package)
    (package / "maps" / "__pycache__").touch()
    return package.parent


def run(site: Path, code: str, caches: Path) -> list[str]:
    """The words that `code` prints in a fresh process that finds the package in `site`."""
    environment = {**os.environ, "PYTHONPATH": str(site), "XDG_CACHE_HOME": str(caches)}
    environment.pop("NUMBA_CACHE_DIR", None)
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=environment, cwd=site, check=True, capture_output=True, text=True
    ).stdout.split()


def test_a_read_only_installation_keeps_its_code_in_the_users_cache(read_only: Path, tmp_path: Path) -> None:
    caches = tmp_path / "caches"
    code = "import dmapsvc.maps as maps; print(maps.choose_backend(), maps.__file__)"
    assert run(read_only, code, caches) == ["numba", str(read_only / "dmapsvc" / "maps" / "__init__.py")]
    assert list(caches.rglob("kernels.transform_columns-*.nbc"))


def test_without_any_cache_the_code_is_compiled_all_the_same(read_only: Path, tmp_path: Path) -> None:
    caches = tmp_path / "caches"
    caches.touch()
    code = """
import numpy
from dmapsvc.maps import kernels
values = numpy.ones((1, 1, 2), numpy.float32)
levels = numpy.array([3, 5], numpy.float32)
kernels.invert_planes(numpy.array([[[0, 1]]], numpy.uint8), levels, values, 0, 1)
print(*values.ravel())
"""
    assert run(read_only, code, caches) == ["2.0", "4.0"]


MAP_OF_EACH_TYPE = """
import numpy
from dmapsvc.maps import penalty_map
for labels in (numpy.uint8, numpy.uint16):
    print(*penalty_map(numpy.array([[[0, 0, 0, 7]]], labels), backend="numba").values.ravel())
"""


def test_code_that_is_cut_off_on_disk_is_compiled_anew(read_only: Path, tmp_path: Path) -> None:
    caches = tmp_path / "caches"
    expected = run(read_only, MAP_OF_EACH_TYPE, caches)
    cut_off = [*caches.rglob("*.nbc"), *caches.rglob("*.nbi")]
    for file in cut_off:
        os.truncate(file, file.stat().st_size // 2)
    assert cut_off
    assert run(read_only, MAP_OF_EACH_TYPE, caches) == expected


def test_code_on_disk_is_forgotten_when_any_of_the_sources_changes(read_only: Path, tmp_path: Path) -> None:
    caches = tmp_path / "caches"
    code = """
import numpy
from dmapsvc.maps import kernels
labels, levels = numpy.zeros((1, 1, 1), numpy.uint8), numpy.zeros(1, numpy.float32)
kernels.invert_planes(labels, levels, numpy.zeros((1, 1, 1), numpy.float32), 0, 1)
print(*kernels.invert_planes.stats.cache_hits.values())
"""
    assert run(read_only, code, caches) == []
    assert run(read_only, code, caches) == ["1"]
    with (read_only / "dmapsvc" / "maps" / "vectors.py").open("a") as source:
        source.write("# changed")
    assert run(read_only, code, caches) == []
