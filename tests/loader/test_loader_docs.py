"""The Python of docs/loader.md runs as it is printed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.loader.docs_run import blocks, make_knees, run_block

PLAIN, DATALOADER, LIGHTNING, DDP, STATE = blocks("loader.md")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    make_knees(folder)
    return folder


def test_plain_pytorch(folder: Path) -> None:
    assert len(run_block(PLAIN, folder)) == 3


def test_behind_a_dataloader(folder: Path) -> None:
    printed = run_block(DATALOADER, folder)
    assert len(printed) == 8
    assert all(line.endswith("(2, 1, 16, 32, 32)") for line in printed)


def test_state(folder: Path) -> None:
    assert run_block(STATE, folder) == ["5 False"]


def test_several_processes(folder: Path) -> None:
    (folder / "ddp.py").write_text(DDP)
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "ddp.py",
    ]
    ran = subprocess.run(launch, cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    drawn = [line.split(maxsplit=1) for line in ran.stdout.splitlines()]
    assert sorted(rank for rank, _ in drawn) == ["0", "0", "1", "1"]
    assert len({patch for _, patch in drawn}) == 4


def test_lightning_is_only_compiled() -> None:
    """It is no dependency, of the tests neither."""
    assert compile(LIGHTNING, "lightning.py", "exec")
