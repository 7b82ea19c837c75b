"""Shards of a run: together all cases, each once, and safe to run at the same time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmapsvc.errors import BadInput
from dmapsvc.pipeline import CaseFile, Event, Happening, precompute, shard_of
from dmapsvc.spec import MapSpec
from dmapsvc.store import Dataset, check

# waits for the others, so that all begin at once; prints what it did
SHARD = """
import json, sys, time
from pathlib import Path
from dmapsvc.pipeline import precompute
from dmapsvc.spec import MapSpec
labels, out, ready, number, count = *map(Path, sys.argv[1:4]), *map(int, sys.argv[4:])
(ready / str(number)).touch()
while len(list(ready.iterdir())) < count:
    time.sleep(0.001)
summary = precompute(labels, out, spec=MapSpec(), backend="scipy", jobs=2, shard=(number, count))
print(json.dumps({"done": summary.done, "failed": [failure.case for failure in summary.failed]}))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Fourteen small masks."""
    (tmp_path / "labels").mkdir()
    for number in range(14):
        labels = np.zeros((6, 7, 8), np.uint8)
        labels[2:4, 2:5, : 2 + number % 5] = 1
        np.save(tmp_path / f"labels/case{number:02}.npy", labels)
    return tmp_path / "labels"


@given(cases=st.integers(0, 40), count=st.integers(1, 12))
def test_shards_are_all_cases_each_once_and_of_nearly_one_size(cases: int, count: int) -> None:
    whole = [CaseFile(case=f"case{number:02}", mask=Path(f"{number}.nii")) for number in range(cases)]
    shards = [shard_of(whole, (number, count)) for number in range(1, count + 1)]
    assert sorted((case for shard in shards for case in shard), key=lambda case: case.case) == whole
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@pytest.mark.parametrize("shard", [(0, 3), (4, 3), (-1, 3), (1, 0)])
def test_a_shard_that_is_none_is_refused(shard: tuple[int, int], folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="from 1 to N"):
        precompute(folder, tmp_path / "out.zarr", spec=MapSpec(), shard=shard)
    assert not (tmp_path / "out.zarr").exists()


def test_shards_that_run_at_once_make_one_sound_dataset(folder: Path, tmp_path: Path) -> None:
    """All of the first shard's files are bad: it may not take away what the others are about to fill."""
    for case in ("case00", "case04", "case08", "case12"):
        (folder / f"{case}.npy").write_text("no volume")
    out, ready = tmp_path / "out.zarr", tmp_path / "ready"
    ready.mkdir()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SHARD, *map(str, (folder, out, ready, number, 4))],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in (1, 2, 3, 4)
    ]
    told = [json.loads(process.communicate(timeout=120)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    assert told[0] == {"done": [], "failed": ["case00", "case04", "case08", "case12"]}
    assert told[1] == {"done": ["case01", "case05", "case09", "case13"], "failed": []}
    dataset = Dataset.open(out)
    assert dataset.cases() == sorted(case for shard in told for case in shard["done"])
    assert len(dataset.cases()) == 10
    assert list(check(dataset)) == []


def test_a_run_that_got_no_case_removes_only_what_it_made_and_nobody_else_is_at(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.zarr"
    bad = folder / "case00.npy"
    bad.write_text("no volume")

    def no_case(on_event: Callable[[Event], None] | None = None) -> None:
        summary = precompute(bad, out, spec=MapSpec(), backend="scipy", on_event=on_event)
        assert (summary.done, len(summary.failed)) == ((), 1)

    no_case()
    assert not out.exists()
    with ExitStack() as others:

        def another_comes(event: Event) -> None:
            if event.happening is Happening.STARTED:
                others.enter_context(Dataset.open(out).at_work())

        no_case(another_comes)
        assert out.exists()
    no_case()
    assert out.exists()  # it was there before


def test_a_shard_that_got_no_case_leaves_the_dataset_to_the_others(folder: Path, tmp_path: Path) -> None:
    (folder / "case00.npy").write_text("no volume")
    summary = precompute(folder, tmp_path / "out.zarr", spec=MapSpec(), backend="scipy", shard=(1, 14))
    assert (summary.done, len(summary.failed)) == ((), 1)
    assert Dataset.open(tmp_path / "out.zarr").cases() == []
