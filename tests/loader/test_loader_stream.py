"""Whoever reads a stream, by how many workers, in which process: nothing is drawn twice or left out."""

from __future__ import annotations

import copy
import os
import pickle
import socket
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch.multiprocessing
from torch import distributed
from torch.multiprocessing.spawn import start_processes
from torch.utils.data import DataLoader

from dmapsvc.errors import BadInput, Conflict
from dmapsvc.loader import Augment, Batch, PatchLoader

Place = tuple[str, tuple[int, ...]]


def _loader(folder: Path, **options: Any) -> PatchLoader:
    few: dict[str, Any] = {"patch": (8, 8, 8), "batch": 1, "threads": 1}
    return PatchLoader(folder, **(few | options))


def _place(batch: Batch) -> Place:
    return batch["case"][0], tuple(batch["corner"][0].tolist())


def _stream(folder: Path, length: int) -> list[Place]:
    with _loader(folder) as loader:
        return [_place(batch) for batch in islice(loader, length)]


def _epoch(loader: PatchLoader, workers: int) -> list[Place]:
    return [_place(batch) for batch in DataLoader(loader, batch_size=None, num_workers=workers)]


@pytest.mark.parametrize("workers", [(0, 2), (2, 0), (2, 1), (1, 2, 0, 2)])
def test_epochs_follow_each_other_whatever_the_workers(knees: Path, workers: tuple[int, ...]) -> None:
    loader = _loader(knees, batches_per_epoch=5)
    epochs = [place for number in workers for place in _epoch(loader, number)]
    assert epochs == _stream(knees, 5 * len(workers))
    assert loader.state_dict()["batches"] == 5 * len(workers)


def test_a_look_at_the_first_batch_moves_the_stream_by_one(knees: Path) -> None:
    loader = _loader(knees, batches_per_epoch=4)
    seen = [_place(next(iter(loader))), *_epoch(loader, 2)]
    assert seen == _stream(knees, 5)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda loader: pickle.loads(pickle.dumps(loader))])
def test_a_copy_goes_on_by_itself(knees: Path, copied: Any) -> None:
    loader = _loader(knees, batches_per_epoch=3)
    first = _epoch(loader, 0)
    other = copied(loader)
    stream = _stream(knees, 9)
    assert first + _epoch(other, 1) + _epoch(other, 1) == stream
    assert _epoch(loader, 0) == stream[3:6]


def _read_as_rank(rank: int, loader: PatchLoader, port: int, told: Any) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    distributed.init_process_group("gloo", rank=rank, world_size=2)
    told.put((rank, [[_place(batch) for batch in loader] for _ in range(2)], loader.state_dict()["batches"]))
    distributed.barrier()
    distributed.destroy_process_group()
    loader.close()


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_ranks_that_begin_after_the_loader_was_made_share_it_out(knees: Path, method: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = torch.multiprocessing.get_context(method).SimpleQueue()
    loader = _loader(knees, batches_per_epoch=3)
    ranks = start_processes(  # type: ignore[no-untyped-call]
        _read_as_rank, (loader, port, told), nprocs=2, join=False, start_method=method
    )
    assert ranks is not None
    (_, even, had), (_, odd, also) = sorted(told.get() for _ in range(2))
    ranks.join()
    stream = _stream(knees, 12)
    assert even == [stream[0:6:2], stream[6:12:2]]
    assert odd == [stream[1:6:2], stream[7:12:2]]
    assert (had, also) == (12, 12)


def test_an_iterator_ends_where_the_next_begins(knees: Path) -> None:
    loader = _loader(knees)
    earlier = iter(loader)
    seen = [_place(next(earlier))]
    later = iter(loader)
    seen.append(_place(next(later)))
    with pytest.raises(Conflict, match="one goes on at a time"):
        next(earlier)
    seen.append(_place(next(later)))
    assert seen == _stream(knees, 3)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"seed": 1}, "seed"),
        ({"batch": 2}, "batch"),
        ({"patch": (8, 8, 10)}, "patch"),
        ({"foreground": 0.9}, "foreground"),
        ({"augment": Augment(rotation=10)}, "augment"),
    ],
)
def test_the_state_of_another_stream_is_refused(knees: Path, options: dict[str, Any], says: str) -> None:
    state = _loader(knees).state_dict()
    with pytest.raises(Conflict, match=says):
        _loader(knees, **options).load_state_dict(state)
    _loader(knees, threads=3, ahead=4, rank=1, world=2).load_state_dict(state)


def test_what_is_no_state_is_refused(knees: Path) -> None:
    loader = _loader(knees)
    for state in ({}, {"batches": -3}, loader.state_dict() | {"batches": "4"}):
        with pytest.raises(BadInput):
            loader.load_state_dict(state)


@pytest.mark.parametrize(
    "options",
    [
        {"patch": 64},
        {"patch": (8, 8, 8.5)},
        {"batch": "2"},
        {"batch": 1.5},
        {"seed": -1},
        {"seed": "x"},
        {"seed": None},
        {"device": "gpu"},
        {"augment": 15},
    ],
)
def test_arguments_that_cannot_be_are_refused(knees: Path, options: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        _loader(knees, **options)


@pytest.mark.parametrize("options", [{"rotation": (-15, 15)}, {"zoom": 0.9}, {"flip": 0.5}, {"flip": True}])
def test_turns_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        Augment(**options)
