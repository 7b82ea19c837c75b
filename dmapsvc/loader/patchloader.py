"""Batches of random patches of a dataset, made by threads while the ones before are trained on.

This is the front: arguments, epochs, ranks and the state that is saved. How patches are drawn is in
`sampling.py`, how a batch is made in `making.py`, what it holds in `batch.py`.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Self

import torch
from torch import distributed
from torch.utils.data import IterableDataset, get_worker_info

from dmapsvc.errors import BadInput, NotFound
from dmapsvc.loader.ahead import Ahead
from dmapsvc.loader.arguments import check_cases, check_counts, check_device, check_rank, check_sampling
from dmapsvc.loader.batch import Batch
from dmapsvc.loader.classes import Classes, dataset_classes
from dmapsvc.loader.derived import Normalise
from dmapsvc.loader.making import Form, Made, Maker, Rings, Work
from dmapsvc.loader.opened import OpenedCases
from dmapsvc.loader.remote.together import READERS, together
from dmapsvc.loader.sampling import Sampler
from dmapsvc.loader.source import CaseSource, open_source
from dmapsvc.loader.turns import Augment, Box
from dmapsvc.region import Scale
from dmapsvc.store import CaseRecord
from dmapsvc.store.classtable import class_table

_MOST_WORKERS = 1024
_OF_A_PROCESS = ("_process", "_running", "_opened")


class PatchLoader(IterableDataset[Batch]):
    """Batches without end, or `batches_per_epoch`. One `iter` at a time; the next goes on where it ended.

    `location`: a dataset folder, its URL, or a `CaseSource`. `patch`: sides (z, y, x) in voxels; `batch`: how
    many. `scale`: how Φ is scaled, by `region.scaling`. `foreground`: the share of patches centred on a voxel
    of a class (`Sampler`). `normalise`: image by the mean and deviation of its case and channel, by (mean,
    deviation) given, or None. `augment`: rotations, flips and zooms, or none. `classes`: a frozen list of
    labels, the background first; the dataset's own if left out. `verify`: whether checksums are looked at.

    `seed`, a number or several, decides every patch, whatever `threads` is. Rank r of `world` takes batches
    r, r + world, … of the one stream; left out, they are those of `torch.distributed`, if it is initialised.
    The workers of a `DataLoader(loader, batch_size=None, num_workers=…)` share their rank's batches and give
    them in the same order as without workers; threads being what reads here, they are seldom of use.

    `device`: where batches are wanted, already there when handed out; `"cpu"`: in ordinary memory; None: in
    memory that is page-locked where PyTorch sees a CUDA device.

    Memory: (`ahead` + `threads` + 2) batches of batch · voxels · (4 · channels + 6) bytes: ready, being made,
    in use, and let go of; what is kept longer is never overwritten, and comes on top. With `augment`, each
    thread also reads a larger box of so many bytes a voxel, and turns it in about as much again. Each case
    that is open (`OpenedCases`) takes up to 0.5 MB, most of it positions of foreground.

    Threads run from the first batch until the iterator is closed, exhausted or collected. Cases published
    after this is made are not drawn; one that is replaced is drawn as it is now; in place of one that is
    deleted, the next of its round is drawn, and a warning logged.

    Raises what `open_source` raises; BadInput for unusable arguments; NotFound for a dataset without cases or
    a case without an image; BadLabels for a case with a label outside `classes`; DeviceMissing; and while it
    is iterated, Damaged, which names the case.
    """

    def __init__(
        self,
        location: str | Path | CaseSource,
        *,
        patch: Box,
        batch: int = 2,
        scale: Scale = "region",
        foreground: float = 0.5,
        normalise: Normalise = "case",
        augment: Augment | None = None,
        classes: Classes | None = None,
        seed: int | Sequence[int] = 0,
        threads: int = 2,
        ahead: int = 2,
        batches_per_epoch: int | None = None,
        rank: int | None = None,
        world: int | None = None,
        device: str | torch.device | None = None,
        verify: bool = True,
    ) -> None:
        super().__init__()
        check_sampling(patch, scale, foreground, normalise)
        check_counts(batch=batch, threads=threads, ahead=ahead, batches_per_epoch=batches_per_epoch)
        check_rank(rank, world)
        self._source = open_source(location) if isinstance(location, str | Path) else location
        records = _records(self._source)
        self.spec, self.names, self.cases = self._source.spec, self._source.names, tuple(records)
        self.classes = dataset_classes(self.spec, records.values()) if classes is None else tuple(classes)
        self.channels = check_cases(records, self.classes)
        sides = patch[0], patch[1], patch[2]
        self._form = Form(batch=batch, patch=sides, channels=self.channels, classes=len(self.classes))
        self._sampler = Sampler(len(records), patch=sides, foreground=foreground, seed=seed, augment=augment)
        self._scale, self._normalise, self._verify = scale, normalise, verify
        self._turns = augment is not None
        self._threads, self._ahead, self._epoch = threads, ahead, batches_per_epoch
        self._rank, self._world = rank, world
        self._device = check_device(device)
        # How many batches of the stream all ranks have had, as each worker of a DataLoader has it. Shared, so
        # that workers which are started anew for every epoch go on.
        self._had = torch.zeros(_MOST_WORKERS, dtype=torch.int64, device="cpu").share_memory_()  # type: ignore[no-untyped-call]
        self._begin_process()

    def __iter__(self) -> Generator[Batch, None, None]:
        worker, workers = _worker()
        rank, world = self._rank_of_world()
        had = int(self._had[worker])
        first, stride = had + rank + world * worker, world * workers
        numbers: Iterator[int] = count(first, stride)
        if self._epoch is not None:
            numbers = iter(range(first, had + rank + world * self._epoch, stride))
        with closing(self._start(numbers, first, stride)) as made:
            while made.has_next():
                yield self._hand_out(made.take(), worker, stride)
            if not made.closed and self._epoch is not None:
                self._had[worker] = had + world * self._epoch

    def __len__(self) -> int:
        """`batches_per_epoch`; TypeError where there is none, as `len` has it."""
        if self._epoch is None:
            raise TypeError("an endless PatchLoader has no length: give batches_per_epoch")
        return self._epoch

    def state_dict(self) -> dict[str, int]:
        """Where the stream is: how many of its batches were handed out, all ranks together.

        What is read ahead does not count. In a worker of a DataLoader it is the worker's own; outside of it,
        what its workers have made (torchdata's StatefulDataLoader asks the workers).
        """
        return {"batches": int(self._had[_worker()[0]])}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from a `state_dict` with the next `iter`, whatever `world` is: the stream is one."""
        if get_worker_info() is None:
            self._had.fill_(state["batches"])
        else:
            self._had[_worker()[0]] = state["batches"]

    def close(self) -> None:
        """End all threads, and with them the iterators; forget the open cases."""
        for made in list(self._running):
            made.close()
        self._begin_process()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        rank, world = self._rank_of_world()  # a spawned worker is in no process group
        kept = {name: value for name, value in vars(self).items() if name not in _OF_A_PROCESS}
        return {**kept, "_rank": rank, "_world": world}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin_process()

    def _begin_process(self) -> None:
        """What only one process has: it never comes through a fork or a pickle."""
        self._process = os.getpid()
        self._running: weakref.WeakSet[Ahead[Made]] = weakref.WeakSet()
        self._opened = OpenedCases(
            self._source, self.classes, scale=self._scale, normalise=self._normalise, verify=self._verify
        )

    def _hand_out(self, made: Made, worker: int, stride: int) -> Batch:
        self._had[worker] += stride
        return made.receive()

    def _start(self, numbers: Iterator[int], first: int, stride: int) -> Ahead[Made]:
        if os.getpid() != self._process:
            self._begin_process()
        device, pinned = self._place()
        most = self._ahead + self._threads
        work = Work(
            source=self._source,
            names=self.cases,
            table=class_table(self.classes),
            opened=self._opened,
            sampler=self._sampler,
            stride=stride,
            form=self._form,
            scale=self._scale,
            rings=Rings(self._form, keep=most + 2, pinned=pinned),
            turns=self._turns,
            device=device,
        )
        work.tell_source(first)  # before the threads race: what the first batch needs comes first
        before = torch.get_num_threads()
        made = Ahead(partial(_start_maker, work), numbers, threads=self._threads, most=most)
        try:
            made.wait_started()
        finally:  # what a thread sets for itself, new ones would take for theirs
            torch.set_num_threads(before)
        self._running.add(made)
        return made

    def _place(self) -> tuple[torch.device, bool]:
        """Where batches are wanted, and whether memory is page-locked."""
        sees_cuda = get_worker_info() is None and torch.cuda.is_available()
        if self._device is None:
            return torch.device("cpu"), sees_cuda
        if self._device.type != "cuda":
            return self._device, False
        if not sees_cuda:
            raise BadInput(
                f"device {self._device} in a worker of a DataLoader",
                "CUDA cannot be used there",
                "Iterate the loader itself, or leave device out",
            )
        index = torch.cuda.current_device() if self._device.index is None else self._device.index
        return torch.device("cuda", index), True

    def _rank_of_world(self) -> tuple[int, int]:
        if self._rank is not None and self._world is not None:
            return self._rank, self._world
        if distributed.is_available() and distributed.is_initialized():
            return distributed.get_rank(), distributed.get_world_size()
        return 0, 1


def _start_maker(work: Work) -> Maker:
    """A maker for the thread that calls: the threads share the cores, so torch uses one in each."""
    torch.get_num_threads()  # a thread takes over the number of the process with its first call: not later
    torch.set_num_threads(1)
    return Maker(work)


def _worker() -> tuple[int, int]:
    """Which of how many workers of a DataLoader this is."""
    worker = get_worker_info()
    return (0, 1) if worker is None else (worker.id, worker.num_workers)


def _records(source: CaseSource) -> dict[str, CaseRecord]:
    names = source.cases()
    if not names:
        raise NotFound(f"{source.name}: no case is published", remedy="Publish a mask and its image first")
    return dict(zip(names, together(source.record, names, READERS), strict=True))
