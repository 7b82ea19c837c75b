"""Batches of patches, made by worker processes, with errors that arrive as they were raised."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator
from typing import TypedDict

from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, default_collate

from dmapsvc.errors import DmapsvcError
from dmapsvc.loader.patches import PatchDataset
from dmapsvc.loader.prepared import Patch


class Batch(TypedDict):
    """Patches stacked: each tensor of `Patch` with N in front, `case` a list of N names."""

    image: Tensor
    label: Tensor
    phi: Tensor
    case: list[str]
    maxima: Tensor


def batches(
    patches: PatchDataset, *, size: int, workers: int = 0, pin_memory: bool = False
) -> Generator[Batch, None, None]:
    """An endless stream of batches of `size` patches, read ahead by `workers` processes.

    0 workers: read by this process, when asked. Raises what `patches` raises: a DataLoader alone would wrap a
    worker's error in a page of traceback.
    """
    loader: DataLoader[Batch | DmapsvcError] = DataLoader(
        _Relay(patches),  # type: ignore[arg-type]  # collated, its items become batches
        batch_size=size,
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_leave_interrupts_to_parent,
        pin_memory=pin_memory,
    )
    for batch in loader:
        if isinstance(batch, DmapsvcError):
            raise batch
        yield batch


class _Relay(IterableDataset[Patch | DmapsvcError]):
    """`patches`, with an error as the last item instead of raised."""

    def __init__(self, patches: PatchDataset) -> None:
        super().__init__()
        self._patches = patches

    def __iter__(self) -> Iterator[Patch | DmapsvcError]:
        try:
            yield from self._patches
        except DmapsvcError as error:
            yield error


def _collate(items: list[Patch | DmapsvcError]) -> Batch | DmapsvcError:
    for item in items:
        if isinstance(item, DmapsvcError):
            return item
    batch: Batch = default_collate(items)
    return batch


def _leave_interrupts_to_parent(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
