"""MONAI's cached datasets and TorchIO's queue, as their documentation shows them.

Both load whole volumes, so they are given them ready for the network, uncompressed: `write_prepared` in
`loader_formats.py`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, RandomSampler

from benchmarks.loader_feed import Delivered, Feed, Place
from benchmarks.loader_volumes import PARTS

_ENDLESS = 1_000_000  # patches: an epoch that no run comes to the end of
_SAMPLES = 10  # patches of a volume, each time TorchIO has loaded it: its documentation's own number


def cached_batches(feed: Feed) -> Generator[Delivered]:
    """MONAI with all volumes in memory: `CacheDataset`, `RandSpatialCropd`, its `DataLoader`.

    By default it copies the whole volume for every patch, which a crop does not need: that is turned off.
    """
    from monai.data.dataset import CacheDataset

    dataset = CacheDataset(
        _items(feed.folder, feed.cases),
        _cropped(feed),
        progress=False,
        num_workers=feed.workers,
        copy_cache=False,
    )
    return _monai(feed, dataset)


def persistent_batches(feed: Feed) -> Generator[Delivered]:
    """MONAI with the volumes on disk, `PersistentDataset`; its cache, the folder, is filled before."""
    from monai.transforms.compose import Compose
    from monai.transforms.croppad.dictionary import RandSpatialCropd

    loaded = persistent_dataset(feed.folder.with_name("prepared"), feed.folder, feed.cases)
    crop = RandSpatialCropd(PARTS, feed.patch, random_size=False)
    loaded.transform = Compose([*loaded.transform.transforms, crop])
    return _monai(feed, loaded)


def persistent_dataset(prepared: Path, cache: Path, cases: Sequence[str]) -> Any:
    """MONAI's `PersistentDataset` of whole volumes."""
    from monai.data.dataset import PersistentDataset

    return PersistentDataset(_items(prepared, cases), _loaded(), cache, weights_only=False)


def torchio_batches(feed: Feed) -> Generator[Delivered]:
    """TorchIO's `Queue` with a `UniformSampler`, volumes loaded by its workers; ten patches a volume."""
    import torchio

    subjects = [
        torchio.Subject(
            case=item["case"],
            **{
                part: (torchio.LabelMap if part == "label" else torchio.ScalarImage)(
                    item[part], reader=_read_npy
                )
                for part in PARTS
            },
        )
        for item in _items(feed.folder, feed.cases)
    ]
    queue = torchio.Queue(
        torchio.SubjectsDataset(subjects * (_ENDLESS // _SAMPLES // len(subjects))),
        max_length=_SAMPLES * len(subjects),
        samples_per_volume=_SAMPLES,
        sampler=torchio.data.UniformSampler(feed.patch),
        num_workers=feed.workers,
    )
    for batch in torchio.SubjectsLoader(queue, batch_size=feed.batch, num_workers=0):
        image, label, phi = (batch[part][torchio.DATA][:, 0] for part in PARTS)
        places = [
            (case, _triple(at)) for case, at in zip(batch["case"], batch[torchio.LOCATION], strict=True)
        ]
        yield Delivered(image=image, label=label, phi=phi, places=partial(list, places))


def _monai(feed: Feed, dataset: Any) -> Generator[Delivered]:
    from monai.data.dataloader import DataLoader as MonaiLoader

    sampler = RandomSampler(dataset, replacement=True, num_samples=_ENDLESS)
    loader: DataLoader[Any] = MonaiLoader(
        dataset, batch_size=feed.batch, sampler=sampler, num_workers=feed.workers
    )
    for batch in loader:
        image, label, phi = (batch[part][:, 0] for part in PARTS)
        yield Delivered(image=image, label=label, phi=phi, places=partial(_monai_places, batch))


def _monai_places(batch: Any) -> list[Place]:
    """The corners by the affines, which a crop moves by its corner; those of the files were the identity."""
    affines = np.asarray(batch["image"].affine)
    return [(case, _triple(affine[:3, 3])) for case, affine in zip(batch["case"], affines, strict=True)]


def _loaded() -> Any:
    from monai.transforms.compose import Compose
    from monai.transforms.io.dictionary import LoadImaged

    return Compose([LoadImaged(PARTS, reader="NumpyReader", dtype=None, ensure_channel_first=True)])


def _cropped(feed: Feed) -> Any:
    from monai.transforms.compose import Compose
    from monai.transforms.croppad.dictionary import RandSpatialCropd

    return Compose([*_loaded().transforms, RandSpatialCropd(PARTS, feed.patch, random_size=False)])


def _items(folder: Path, cases: Sequence[str]) -> list[dict[str, str]]:
    """What MONAI and TorchIO are given of each case: its name and its files."""
    return [{"case": case, **{part: str(folder / case / f"{part}.npy") for part in PARTS}} for case in cases]


def _read_npy(path: Path) -> tuple[torch.Tensor, Any]:
    return torch.from_numpy(np.load(path))[None], np.eye(4)


def _triple(values: Any) -> tuple[int, int, int]:
    z, y, x = (round(float(value)) for value in values[:3])
    return z, y, x
