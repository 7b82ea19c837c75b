"""A disk that is really full, under a real service: clear failures, nothing half published."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from demo.service import ROOT
from tests.keeping.small_disk import SCENARIOS

_MOUNT = 'mount -t tmpfs -o size=32m tmpfs "$1" && exec "$2" -m tests.keeping.small_disk "$1" "$3"'


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_full_disk_costs_nothing_that_was_accepted(tmp_path: Path, scenario: str) -> None:
    """In a mount namespace of its own: nobody else sees the disk, and it goes with its processes."""
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets no ordinary user mount a disk of his own")
    played = subprocess.run(
        [*unshare, "sh", "-c", _MOUNT, "sh", str(tmp_path), sys.executable, scenario],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert played.returncode == 0, played.stderr
