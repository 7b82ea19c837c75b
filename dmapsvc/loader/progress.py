"""How far a stream was handed out, as a loader and the workers of its DataLoaders know it together.

Which processes share that, and where an epoch of several workers begins, is decided here; what is counted is
said in `patchloader.py`.
"""

from __future__ import annotations

import os
import weakref
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

_MOST_WORKERS: Final = 256  # with more, torch copies the table by several threads, which hang after a fork
_SEED, _WORKERS, _EPOCH, _START, _REACHED = range(5)


class Progress:
    """A place in a stream, 0 at first, that only grows.

    A process shares it with the workers that its DataLoaders start, so that those which are started anew for
    every epoch go on. Any other process that inherits or unpickles it begins with a copy of its own.
    """

    def __init__(self, at: int = 0) -> None:
        self._begin_process(at, None)

    @property
    def at(self) -> int:
        """The furthest place that was reached, by whichever worker."""
        return int(self._table[:, _REACHED].max())

    @at.setter
    def at(self, place: int) -> None:
        self._table.zero_()
        self._table[:, _REACHED] = place

    def begin(self) -> int:
        """Where an iteration starts; for all workers of one epoch the same, however far others are."""
        worker = get_worker_info()
        table, me = self._table, 0 if worker is None else worker.id
        # Read first: who joins an epoch below began before any of its workers got further.
        start = self.at
        latest = table[int(table[:, _EPOCH].argmax())].tolist()
        epoch = latest[_EPOCH]
        team = [0, 0] if worker is None else [worker.seed - worker.id, worker.num_workers]
        joins = worker is not None and latest[:_EPOCH] == team and int(table[me, _EPOCH]) != epoch
        start, epoch = (latest[_START], epoch) if joins else (start, epoch + 1)
        for column, value in zip((_SEED, _WORKERS, _START, _EPOCH), (*team, start, epoch), strict=True):
            table[me, column] = value  # the epoch last: it is what others look for
        return int(start)

    def reach(self, place: int) -> None:
        """Note that `place` was reached."""
        worker = get_worker_info()
        self._table[0 if worker is None else worker.id, _REACHED] = place

    def __getstate__(self) -> Tensor:
        return self._table

    def __setstate__(self, table: Tensor) -> None:
        self._begin_process(int(table[:, _REACHED].max()), table)

    @property
    def _table(self) -> Tensor:
        """A row for each worker, the first for a process without: its epoch, and how far it got."""
        if self._parents is None or get_worker_info() is None:
            return self._own
        return self._parents

    def _begin_process(self, at: int, parents: Tensor | None) -> None:
        """Of a new process nobody knows yet whether it is a worker: it has its parent's and its own."""
        self._parents = parents
        self._own: Tensor = torch.zeros((_MOST_WORKERS, 5), dtype=torch.int64, device="cpu")
        self._own[:, _REACHED] = at
        self._own.share_memory_()  # type: ignore[no-untyped-call]
        _ALL.add(self)

    def after_fork(self) -> None:
        """In a child, before anything else runs there."""
        self._begin_process(self.at, self._table)


_ALL: weakref.WeakSet[Any] = weakref.WeakSet()


def _after_fork() -> None:
    for progress in list(_ALL):
        progress.after_fork()


os.register_at_fork(after_in_child=_after_fork)
