"""Many cases at once, stopped in the middle, killed, and spread over several processes."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dmapsvc.cli.precompute import UnderWay
from dmapsvc.pipeline import Event, Happening
from tests.cli.cli_run import Run
from tests.cli.conftest import save_nifti

QUICK = ("--backend", "scipy")


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A folder of eight masks that take a moment each."""
    for number in range(8):
        labels = np.zeros((80, 80, 80), np.uint8)
        labels[8 : 40 + number, 8:50, 8:50] = 1
        save_nifti(tmp_path / "many" / f"case_{number}.nii.gz", labels)
    return tmp_path / "many"


def stopped(masks: Path, store: Path, number: signal.Signals) -> tuple[int, str]:
    """Precompute in a process that gets a signal as soon as a case is done; its exit code and stderr."""
    command = [sys.executable, "-m", "dmapsvc", "precompute", str(masks), str(store), "--jobs", "3", *QUICK]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert re.fullmatch(r"case_\d: done\n", first)
    assert out == ""
    return process.returncode, err


def goes_on(cli: Callable[..., Run], masks: Path, store: Path, published: list[str]) -> None:
    """The same command again makes the rest, and leaves the cases that were published as they are."""
    before = {case: (store / case / "zarr.json").read_bytes() for case in published}
    run = cli("precompute", masks, store, *QUICK)
    assert run.code == 0, run.err
    counts = f"{8 - len(published)} done, {len(published)} there already, 0 failed"
    assert run.out.splitlines()[-1] == f"{store}: {counts}"
    assert before == {case: (store / case / "zarr.json").read_bytes() for case in published}
    assert cli("check", store).out == "8 cases sound\n"
    assert list(store.with_name(f".{store.name}.staging").glob("work/*")) == []


def published(store: Path) -> list[str]:
    return sorted(path.name for path in store.iterdir() if path.is_dir())


def test_ctrl_c_stops_and_the_same_command_goes_on(
    cli: Callable[..., Run], many: Path, tmp_path: Path
) -> None:
    store = tmp_path / "knees.zarr"
    code, err = stopped(many, store, signal.SIGINT)
    assert code == 130
    assert err.splitlines()[-1] == "stopped; run the same command again to go on"
    assert "Traceback" not in err
    there = published(store)
    assert 1 <= len(there) < 8
    assert list((tmp_path / ".knees.zarr.staging").glob("work/*")) == []
    assert cli("check", store).code == 0
    goes_on(cli, many, store, there)


def test_a_run_that_was_killed_leaves_whole_cases_and_goes_on(
    cli: Callable[..., Run], many: Path, tmp_path: Path
) -> None:
    store = tmp_path / "knees.zarr"
    code, _ = stopped(many, store, signal.SIGKILL)
    assert code == -signal.SIGKILL
    there = published(store)
    assert 1 <= len(there) < 8
    assert cli("check", store).code == 0
    goes_on(cli, many, store, there)


def test_shards_make_the_dataset_together(cli: Callable[..., Run], masks: Path, tmp_path: Path) -> None:
    store = tmp_path / "knees.zarr"
    for shard, rows in (("2/2", ["b"]), ("1/2", ["a", "sub__c"]), ("4/4", [])):
        run = cli("precompute", masks, store, "--shard", shard, *QUICK)
        assert run.code == 0
        assert [row.split()[0] for row in run.out.splitlines()[1:-2]] == rows
        assert run.out.splitlines()[-1] == f"{store}: {len(rows)} done, 0 there already, 0 failed"
    assert cli("check", store).out == "3 cases sound\n"


def test_a_single_bad_mask_of_a_shard_is_one_among_others(
    cli: Callable[..., Run], masks: Path, tmp_path: Path
) -> None:
    (masks / "b.nii.gz").write_text("no volume")
    assert cli("precompute", masks, tmp_path / "knees.zarr", "--shard", "2/2", *QUICK).code == 1
    assert cli("precompute", masks / "b.nii.gz", tmp_path / "knees.zarr", *QUICK).code == 2


@pytest.mark.parametrize("shard", ["0/2", "3/2", "2", "a/b", "1/2/3"])
def test_a_shard_that_is_none_is_one_line(
    cli: Callable[..., Run], masks: Path, tmp_path: Path, shard: str
) -> None:
    run = cli("precompute", masks, tmp_path / "knees.zarr", "--shard", shard, *QUICK)
    assert run.code == 2
    assert "wanted I/N, with I from 1 to N" in run.error


def test_a_line_of_progress_tells_what_is_under_way() -> None:
    under_way = UnderWay()
    for happening, case, stage, fraction in (
        ("started", "a", None, 0.0),
        ("stage", "a", "read", 0.15),
        ("started", "b", None, 0.0),
        ("stage", "a", "map", 0.25),
        ("stage", "b", "read", 0.05),
    ):
        under_way.hear(
            Event(happening=Happening(happening), case=case, ended=0, total=2, stage=stage, fraction=fraction)
        )
    assert str(under_way) == "map a, read b"
    assert under_way.done == pytest.approx(0.3)
    under_way.hear(Event(happening=Happening.FAILED, case="a", ended=1, total=2))
    assert str(under_way) == "read b"
    assert under_way.done == pytest.approx(0.05)
