"""What people write themselves: a torch dataset that cuts boxes out of arrays, behind torch's `DataLoader`.

The arrays are .npy files mapped into memory, or the dataset of dmapsvc as zarr-python reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, IterableDataset

from benchmarks.loader_feed import Delivered, Feed, Place
from benchmarks.loader_volumes import PARTS, Box, Patch

Cut = Callable[[tuple[slice, ...]], Patch]
"""Reads one box of a case."""

Sample = tuple[NDArray[np.float32], NDArray[np.int16], NDArray[np.float32], Place]


def npy_batches(feed: Feed) -> Generator[Delivered]:
    """From .npy files: image int16, label uint8 and Φ float32, as small as they can be mapped."""
    return _batches(feed, _open_npy)


def zarr_batches(feed: Feed) -> Generator[Delivered]:
    """From the dataset of dmapsvc, array by array, with zarr-python alone."""
    return _batches(feed, _open_zarr)


class Boxes(IterableDataset[Sample]):
    """Random boxes without end; each case is opened once a worker, by `opener(feed, case)`."""

    def __init__(self, feed: Feed, opener: Callable[[Feed, str], tuple[Box, Cut]]) -> None:
        self._feed = feed
        self._opener = opener

    def __iter__(self) -> Iterator[Sample]:
        """One box after the other, of a case drawn at random."""
        feed, opened = self._feed, cache(partial(self._opener, self._feed))
        random = np.random.default_rng(torch.initial_seed())  # torch gives each worker another
        while True:
            case = feed.cases[random.integers(len(feed.cases))]
            shape, cut = opened(case)
            z, y, x = (int(random.integers(n - side + 1)) for n, side in zip(shape, feed.patch, strict=True))
            box = tuple(slice(at, at + side) for at, side in zip((z, y, x), feed.patch, strict=True))
            yield *cut(box), (case, (z, y, x))


def _batches(feed: Feed, opener: Callable[[Feed, str], tuple[Box, Cut]]) -> Generator[Delivered]:
    loader = DataLoader(
        Boxes(feed, opener), batch_size=feed.batch, num_workers=feed.workers, collate_fn=_collated
    )
    for image, label, phi, places in loader:
        yield Delivered(image=image, label=label, phi=phi, places=partial(list, places))


def _collated(samples: list[Sample]) -> tuple[Any, ...]:
    """As torch does it by default, which stacks into shared memory; the places stay as they are."""
    parts = torch.utils.data.default_collate([sample[:3] for sample in samples])
    return *parts, [sample[3] for sample in samples]


def _open_npy(feed: Feed, case: str) -> tuple[Box, Cut]:
    volume = next(volume for volume in feed.volumes if volume.case == case)
    image, label, phi = (volume.open(part) for part in PARTS)

    def cut(box: tuple[slice, ...]) -> Patch:
        return Patch(
            volume.normalised(image[box]),
            label[box].astype(np.int16),
            np.array(phi[box]),  # a copy: what is mapped is no batch yet
        )

    return volume.shape, cut


def _open_zarr(feed: Feed, case: str) -> tuple[Box, Cut]:
    import zarr

    group: Any = zarr.open_group(feed.folder, mode="r")[case]
    image, label, phi = (group[f"{part}/0"] for part in PARTS)
    record = group.attrs["dmapsvc"]
    mean, deviation = (np.float32(record["image"]["moments"][0][key]) for key in ("mean", "deviation"))
    step = np.float32(phi.attrs["scale_factor"])
    table = np.zeros(1 + max(region["value"] for region in record["regions"]), np.int16)
    for index, value in enumerate(record["spec"]["labels"], start=1):
        if value < len(table):
            table[value] = index

    def cut(box: tuple[slice, ...]) -> Patch:
        normalised = np.subtract(image[box], mean, dtype=np.float32)
        normalised /= deviation
        return Patch(normalised, table.take(label[box]), np.multiply(phi[box], step, dtype=np.float32))

    shape: Box = label.shape
    return shape, cut
