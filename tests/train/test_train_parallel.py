"""Two processes learn together what one learns with twice the batch."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch

from dmapsvc.errors import Conflict
from dmapsvc.store import Dataset
from dmapsvc.train import Checkpoint, RunFolder, train
from dmapsvc.train.opening import open_training
from dmapsvc.train.parallel import Group, leads, process_group
from tests.train.train_runs import tiny

_SETTINGS: dict[str, Any] = {"validate_every": 2, "lr": 1e-5, "patch": (32, 32, 32)}  # one window a case

_SCRIPT = """
    import json, os, sys
    from pathlib import Path
    import torch
    torch.set_num_threads(1)
    from dmapsvc.store import Dataset
    from dmapsvc.train import train
    from tests.train.train_runs import tiny
    store, out, settings, *ports = sys.argv[1:]
    for steps, port in zip((2, 4), ports):
        os.environ["MASTER_PORT"] = port
        train(
            tiny(Dataset.open(Path(store)), out=Path(out), batch=1, steps=steps, **json.loads(settings)),
            lambda step: print(step.step, step.loss, step.best, flush=True),
        )
"""


def _together(dataset: Dataset, out: Path) -> list[list[str]]:
    """What each of two processes printed, started as torchrun starts them, two steps and two more."""
    root, ports = Path(__file__).resolve().parents[2], [_free_port(), _free_port()]
    started = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                textwrap.dedent(_SCRIPT),
                str(dataset.path),
                str(out),
                json.dumps(_SETTINGS),
                *ports,
            ],
            env=os.environ | _AS_TORCHRUN | {"RANK": rank, "LOCAL_RANK": rank, "PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    try:
        printed = [process.communicate(timeout=300)[0].splitlines() for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0]
    return printed


def _free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


_AS_TORCHRUN = {
    "WORLD_SIZE": "2",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "",
    "OMP_NUM_THREADS": "1",
}


def test_two_processes_learn_what_one_does_with_twice_the_batch(split_dataset: Dataset) -> None:
    alone: list[str] = []
    folder = split_dataset.path.parent
    one = train(
        tiny(split_dataset, out=folder / "one", steps=4, **_SETTINGS),
        lambda step: alone.append(f"{step.step} {step.loss} {step.best}"),
    )
    leader, other = _together(split_dataset, folder / "two")
    assert leader == other
    assert [line.split()[0] for line in leader] == ["1", "2", "3", "4"]
    losses, together = ([float(line.split()[1]) for line in printed] for printed in (alone, leader))
    assert together == pytest.approx(losses, rel=1e-3)
    two = RunFolder(folder / "two")
    first, second = Checkpoint.load(one.last), Checkpoint.load(two.last)
    assert second.patches["batches"] == 8
    assert second.processes == 2
    for number, state in first.optimizer["state"].items():  # weights: Adam makes much of gradients near 0
        mean, other_mean = state["exp_avg"], second.optimizer["state"][number]["exp_avg"]
        assert (other_mean - mean).norm() < 0.02 * mean.norm()
    scores, others = ([row[4:] for row in last.history["rows"]] for last in (first, second))
    assert len(scores) == 2
    for score, other in zip(scores, others, strict=True):
        assert other == pytest.approx(score, abs=0.02)
    with pytest.raises(Conflict, match="processes 2; this training has 1"):
        train(tiny(split_dataset, out=two.path, batch=1, steps=6, **_SETTINGS))


def test_a_run_that_others_find_begun_and_this_process_does_not_is_refused(
    split_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two processes, on a machine that does not see where the first one writes."""

    def at_step_5(numbers: torch.Tensor, operation: object) -> None:
        numbers.copy_(torch.maximum(numbers, torch.tensor([5, -5])))

    monkeypatch.setattr(torch.distributed, "barrier", lambda: None)
    monkeypatch.setattr(torch.distributed, "all_reduce", at_step_5)
    group = Group(rank=1, world=2, device=torch.device("cpu"))
    assert group.agrees(5)
    assert not group.agrees(6)
    with pytest.raises(Conflict, match=r"last\.pt: not every process sees it, or the same"):
        open_training(tiny(split_dataset), group)


def test_a_single_process_needs_no_group() -> None:
    with process_group("cpu") as group:
        assert (group.rank, group.world, group.leads) == (0, 1, True)
        assert not torch.distributed.is_initialized()
        net = torch.nn.Linear(1, 1)
        assert group.joined(net) is net
        assert group.agrees(5)
    assert leads()


def test_the_first_of_torchruns_processes_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("RANK", "0")
    assert leads()
    monkeypatch.setenv("RANK", "1")
    assert not leads()
