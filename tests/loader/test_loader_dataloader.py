"""A PatchLoader behind PyTorch's own DataLoader, and across forks and pickles."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
import warnings
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import distributed
from torch.multiprocessing.spawn import start_processes
from torch.utils.data import DataLoader

from dmapsvc.errors import Damaged
from dmapsvc.loader.batch import Batch
from dmapsvc.loader.patchloader import PatchLoader
from dmapsvc.loader.turns import Augment

PATCH = (8, 8, 8)


def _loader(
    folder: Path, batches_per_epoch: int | None = None, augment: Augment | None = None
) -> PatchLoader:
    return PatchLoader(folder, patch=PATCH, batches_per_epoch=batches_per_epoch, augment=augment)


def _behind(loader: PatchLoader, workers: int, method: str | None = None) -> DataLoader[Batch]:
    return DataLoader(
        loader,
        batch_size=None,
        num_workers=workers,
        multiprocessing_context=method,
        persistent_workers=method == "spawn",  # started once; those of a fork anew for every epoch
    )


def _images(batches: list[Batch]) -> list[bytes]:
    return [batch["image"].numpy().tobytes() for batch in batches]


@pytest.mark.parametrize(("workers", "method"), [(0, None), (2, "fork"), (1, "spawn")])
def test_workers_change_nothing_of_the_stream(knees: Path, workers: int, method: str | None) -> None:
    augment = Augment(rotation=20)
    expected = _images(list(islice(_loader(knees, augment=augment), 10)))
    behind = _behind(_loader(knees, 5, augment), workers, method)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # PyTorch warns where a loader's length is not what it gives
        epochs = [list(behind), list(behind)]
    assert [len(epoch) for epoch in epochs] == [5, 5]
    assert _images(epochs[0] + epochs[1]) == expected
    batch = epochs[0][0]
    assert (batch["image"].dtype, batch["label"].dtype) == (torch.float32, torch.int16)
    assert all(isinstance(case, str) for case in batch["case"])


def test_workers_share_the_batches_of_their_rank(knees: Path) -> None:
    expected = _images(list(islice(_loader(knees), 12)))
    ranks = [PatchLoader(knees, patch=PATCH, rank=rank, world=2) for rank in range(2)]
    shares = [_images(list(islice(_behind(rank, 2, "fork"), 6))) for rank in ranks]
    assert shares == [expected[0::2], expected[1::2]]


def test_epochs_whose_workers_have_one_seed_follow_each_other(knees: Path) -> None:
    loader, drawn = _loader(knees, 3), []
    for _ in range(3):
        torch.manual_seed(0)  # from which a DataLoader draws what it gives its workers
        drawn += _images(list(_behind(loader, 2, "fork")))
    assert drawn == _images(list(islice(_loader(knees), 9)))


def _draw_as_rank(rank: int, loader: PatchLoader, folder: Path) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    behind = _behind(loader, 2, "fork")
    drawn = [_images(list(behind)) for _ in range(2)]
    torch.save(drawn, folder / f"{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_workers_of_ranks_that_were_given_the_loader(knees: Path, tmp_path: Path, method: str) -> None:
    start_processes(_draw_as_rank, (_loader(knees, 3), tmp_path), nprocs=2, start_method=method)  # type: ignore[no-untyped-call]
    expected = _images(list(islice(_loader(knees), 12)))
    for rank in range(2):
        own = expected[rank::2]
        assert torch.load(tmp_path / f"{rank}.pt", weights_only=True) == [own[:3], own[3:]]


def test_a_fork_of_a_loader_in_use_reads_on_its_own(knees: Path) -> None:
    loader = _loader(knees)
    batches = iter(loader)
    first = [next(batches) for _ in range(3)]
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, b"".join(image[:64] for image in _images(list(islice(loader, 2)))))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    expected = _images(list(islice(batches, 2)))
    assert os.read(read, 4096) == b"".join(image[:64] for image in expected)
    assert _images(first) == _images(list(islice(_loader(knees), 3)))
    os.close(read)
    os.close(write)


def test_a_workers_error_names_the_case(knees: Path) -> None:
    (knees / "a" / "phi" / "0" / "c" / "0" / "0" / "0").write_bytes(b"")
    batches = iter(_behind(_loader(knees), 1, "fork"))
    with pytest.raises(Damaged, match="case 'a': phi"):
        list(islice(batches, 10))
    batches._shutdown_workers()  # type: ignore[attr-defined]  # collected with an error, PyTorch's wait 5 s


def test_a_script_that_ends_in_the_middle_ends_cleanly(knees: Path) -> None:
    script = f"""
        import sys
        from dmapsvc.loader.patchloader import PatchLoader
        batches = iter(PatchLoader({str(knees)!r}, patch=(8, 8, 8), ahead=4))
        print(sorted(next(batches)))
        sys.exit(4)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert done.returncode == 4


def test_ranks_are_those_of_the_process_group(knees: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = _images(list(islice(_loader(knees), 6)))
    loader = _loader(knees)
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    spawned = pickle.dumps(loader)
    assert _images(list(islice(loader, 3))) == expected[1::2]
    monkeypatch.undo()  # a spawned worker is in no group
    assert _images(list(islice(pickle.loads(spawned), 3))) == expected[1::2]
