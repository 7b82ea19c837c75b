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

from dmapsvc.errors import BadInput, Conflict, NotFound
from dmapsvc.loader.ahead import Ahead
from dmapsvc.loader.arguments import (
    check_cases,
    check_counts,
    check_device,
    check_rank,
    check_sampling,
    check_seed,
)
from dmapsvc.loader.batch import Batch
from dmapsvc.loader.classes import Classes, dataset_classes
from dmapsvc.loader.derived import Normalise
from dmapsvc.loader.making import Form, Made, Maker, Rings, Work
from dmapsvc.loader.opened import OpenedCases
from dmapsvc.loader.progress import Progress
from dmapsvc.loader.remote.together import READERS, together
from dmapsvc.loader.sampling import Sampler
from dmapsvc.loader.source import CaseSource, open_source
from dmapsvc.loader.state import describe_stream, read_state
from dmapsvc.loader.turns import Augment, Box
from dmapsvc.region import Scale
from dmapsvc.store import CaseRecord
from dmapsvc.store.classtable import class_table
from dmapsvc.store.mapped import warm

_OF_A_PROCESS = ("_process", "_running", "_opened", "_current", "_share", "_resumed")


class PatchLoader(IterableDataset[Batch]):
    """Batches without end, or `batches_per_epoch`. One `iter` at a time; the next goes on where it ended.

    `location`: a dataset folder, its URL, or a `CaseSource`. `patch`: sides (z, y, x) in voxels; `batch`: how
    many. `scale`: how Φ is scaled, by `region.scaling`. `foreground`: the share of patches centred on a voxel
    of a class (`Sampler`). `normalise`: image by the mean and deviation of its case and channel, by (mean,
    deviation) given, or None. `augment`: rotations, flips and zooms, or none. `classes`: a frozen list of
    labels, the background first; those of the spec, or of the cases, if left out. `cases`: those that are
    drawn, one side of a split, say; all if left out. `verify`: whether checksums are looked at.

    `seed`, a number or several, decides every patch, whatever `threads` is. Rank r of `world` takes batches
    r, r + world, … of the one stream; left out, they are those of `torch.distributed`, if it is initialised.
    The workers of a `DataLoader(loader, batch_size=None, num_workers=…)` share their rank's batches and give
    them in the same order as without workers; threads being what reads here, they are seldom of use.

    `device`: where batches are wanted, already there when handed out; `"cpu"`: in ordinary memory; None: in
    memory that is page-locked where PyTorch sees a CUDA device.

    Memory: (`ahead` + `threads` + 2) batches of batch · voxels · (4 · channels + 6) bytes: ready, being made,
    in use, and let go of; what is kept longer is never overwritten, and comes on top. With `augment`, each
    thread also reads a larger box of so many bytes a voxel, and turns it in about as much again. Each case
    that is open (`OpenedCases`) takes 6 bytes a stored position of foreground (12 where a side is above
    65,535), of which it has at most 65,536, and 16 bytes a chunk of its three arrays.

    Threads run from the first batch until the iterator is closed, exhausted or collected, or another one of
    this loader hands out its first: the earlier then raises Conflict. Cases published after this is made are
    not drawn; one that is replaced is drawn as it is now; in place of one that is deleted, the next of its
    round is drawn, and a warning logged, until it is there again.

    Raises what `open_source` raises; BadInput for unusable arguments; NotFound for a dataset without cases or
    a case without an image; BadLabels for a case with a label outside `classes`; DeviceMissing; and while it
    is iterated, Damaged, which names the case.
    """

    _current: object  # of the iterator that goes on; None once closed
    _share: int | None  # in a worker, where it goes on
    _resumed: int | None  # and with the next `iter`

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
        cases: Sequence[str] | None = None,
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
        check_sampling(patch, scale, foreground, normalise, augment)
        check_counts(batch=batch, threads=threads, ahead=ahead, batches_per_epoch=batches_per_epoch)
        check_rank(rank, world)
        check_seed(seed)
        self._source = open_source(location) if isinstance(location, str | Path) else location
        records = _records(self._source, cases)
        self.spec, self.names, self.cases = self._source.spec, self._source.names, tuple(records)
        self.classes = dataset_classes(self.spec, records.values()) if classes is None else tuple(classes)
        self.channels = check_cases(records, self.classes)
        sides = patch[0], patch[1], patch[2]
        self._form = Form(batch=batch, patch=sides, channels=self.channels, classes=len(self.classes))
        self._sampler = Sampler(len(records), patch=sides, foreground=foreground, seed=seed, augment=augment)
        self._stream = describe_stream(
            seed=seed,
            batch=batch,
            patch=sides,
            foreground=foreground,
            augment=augment,
            classes=self.classes,
            cases=self.cases,
        )
        self._scale, self._normalise, self._verify = scale, normalise, verify
        self._turns = augment is not None
        self._threads, self._ahead, self._epoch = threads, ahead, batches_per_epoch
        self._rank, self._world = rank, world
        self._device = check_device(device)
        self._progress = Progress()  # how many batches of the stream all ranks have had
        self._begin_process()

    def __iter__(self) -> Generator[Batch, None, None]:
        if os.getpid() != self._process:
            self._begin_process()
        self._end_running()
        current = self._current = object()
        worker, workers = _worker()
        rank, world = self._rank_of_world()
        start = self._progress.begin()
        if self._resumed is not None:
            start, self._resumed = self._resumed, None
        first, stride = start + rank + world * worker, world * workers
        numbers: Iterator[int] = count(first, stride)
        if self._epoch is not None:
            numbers = iter(range(first, start + rank + world * self._epoch, stride))
        with closing(self._start(numbers, first, stride)) as made:
            yield from map(partial(self._hand_out, rank, world), made)
            if self._current not in (None, current):
                raise Conflict(
                    "an iterator of a PatchLoader that was ended",
                    "another one of the same loader began, and one goes on at a time",
                    "Make a loader for each",
                )

    def __len__(self) -> int:
        """`batches_per_epoch`; TypeError where there is none, as `len` has it."""
        if self._epoch is None:
            raise TypeError("an endless PatchLoader has no length: give batches_per_epoch")
        return self._epoch

    def state_dict(self) -> dict[str, Any]:
        """Where the stream is, and which it is, in plain values.

        `batches`: how many were handed out, all ranks together; what is read ahead does not count. Behind a
        DataLoader with workers it is what they have made, up to `prefetch_factor` · `num_workers` more than
        it gave. The rest is what decides the patches: seed, batch, patch, foreground, augment, classes, and
        the cases.

        Asked in a worker, it is the place from which the worker of this number, of as many, goes on, and is
        loaded in such a worker.
        """
        batches = self._progress.at if get_worker_info() is None else self._share_at()
        return {"batches": batches, **self._stream}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict` with the next `iter`, whatever `world`, `threads` and workers are.

        Raises Conflict for the state of another stream, naming what differs; BadInput for what is no state.
        """
        batches = read_state(state, self._stream, self._source.name)
        if get_worker_info() is None:
            self._progress.at = batches
        else:
            self._share = self._resumed = batches

    def close(self) -> None:
        """End all threads, and with them the iterators; forget the open cases."""
        self._end_running()
        self._begin_process()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in vars(self).items() if name not in _OF_A_PROCESS}
        if _in_group():  # which a spawned worker is not
            kept["_rank"], kept["_world"] = self._rank_of_world()
        return kept

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin_process()

    def _begin_process(self) -> None:
        """What only one process has: it never comes through a fork or a pickle."""
        self._process = os.getpid()
        self._current, self._share, self._resumed = None, None, None
        self._running: weakref.WeakSet[Ahead[Made]] = weakref.WeakSet()
        self._opened = OpenedCases(
            self._source, self.classes, scale=self._scale, normalise=self._normalise, verify=self._verify
        )

    def _end_running(self) -> None:
        for made in list(self._running):
            made.close()

    def _hand_out(self, rank: int, world: int, made: Made) -> Batch:
        worker, workers = _worker()
        self._progress.reach(made.number - rank + world)
        self._share = made.number - rank + world * (workers - worker)
        return made.receive()

    def _share_at(self) -> int:
        return self._progress.at if self._share is None else self._share

    def _start(self, numbers: Iterator[int], first: int, stride: int) -> Ahead[Made]:
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
        work.tell_source(first)
        before = torch.get_num_threads()
        made = Ahead(partial(_start_maker, work), numbers, threads=self._threads, most=most)
        try:
            warm()  # while the first batch's cases are fetched
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
        if _in_group():
            return distributed.get_rank(), distributed.get_world_size()
        return 0, 1


def _in_group() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _start_maker(work: Work) -> Maker:
    """A maker for the thread that calls: the threads share the cores, so torch uses one in each."""
    torch.get_num_threads()  # a thread takes over the number of the process with its first call: not later
    torch.set_num_threads(1)
    return Maker(work)


def _worker() -> tuple[int, int]:
    """Which of how many workers of a DataLoader this is."""
    worker = get_worker_info()
    return (0, 1) if worker is None else (worker.id, worker.num_workers)


def _records(source: CaseSource, cases: Sequence[str] | None) -> dict[str, CaseRecord]:
    names = source.cases() if cases is None else list(dict.fromkeys(cases))
    if not names and cases is not None:
        raise BadInput("an empty list of cases", "wanted at least one", "Leave cases out to draw from all")
    if not names:
        raise NotFound(f"{source.name}: no case is published", remedy="Publish a mask and its image first")
    return dict(zip(names, together(source.record, names, READERS), strict=True))
