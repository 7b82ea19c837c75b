"""dmapsvc's own `PatchLoader`, asked for what the others deliver.

The dataset lies in a folder, or behind the API.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from functools import partial
from pathlib import Path

from benchmarks.loader_feed import ROTATION, Delivered, Feed, Place


def load() -> None:
    """Load the compiled kernels, or compile them where that has never been done."""
    from dmapsvc.store.mapped import warm

    warm()


def batches(feed: Feed, rotated: bool, verify: bool) -> Generator[Delivered]:
    """From the dataset in the folder of `feed`; `verify`: the checksum of every chunk that is read."""
    return _batches(feed, str(feed.folder), rotated, verify)


def remote_batches(feed: Feed, url: str, cache: Path) -> Generator[Delivered]:
    """From the dataset at `url`, through a local cache in `cache`."""
    os.environ["DMAPSVC_CACHE"] = str(cache)
    return _batches(feed, url, rotated=False, verify=True)


def _batches(feed: Feed, location: str, rotated: bool, verify: bool) -> Generator[Delivered]:
    from dmapsvc.loader import Augment, PatchLoader

    loader = PatchLoader(
        location,
        patch=feed.patch,
        batch=feed.batch,
        scale="none",
        foreground=0.0,
        augment=Augment(rotation=ROTATION) if rotated else None,
        threads=feed.workers,
        verify=verify,
    )
    with loader:
        for batch in loader:
            yield Delivered(
                image=batch["image"][:, 0],
                label=batch["label"],
                phi=batch["phi"],
                places=partial(_places, batch["case"], batch["corner"]),
            )


def _places(cases: list[str], corners: object) -> list[Place]:
    import torch

    assert isinstance(corners, torch.Tensor)
    return [(case, (z, y, x)) for case, (z, y, x) in zip(cases, corners.tolist(), strict=True)]
