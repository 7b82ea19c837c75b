"""Whether a loader delivers what it should: its patches against the reference, before anything is timed."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.loader_feed import Delivered, Feed
from benchmarks.loader_race import Way, redirect
from benchmarks.loader_volumes import Volume

PATCHES = 8
_EXACT = 1e-4  # of normalised image and Φ in voxels: what float32 arithmetic in another order may differ by


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """The largest difference to the reference at the places that a loader drew: of the image and of Φ; the
    number of voxels with another label.
    """

    patches: int
    image: float
    label: int
    phi: float

    def check(self, name: str, phi: float) -> None:
        """Raise RuntimeError unless all is equal, but for a rounding of Φ by `phi`."""
        if self.image > _EXACT or self.label or self.phi > phi + _EXACT:
            raise RuntimeError(f"{name} does not deliver the same patches: {self}; Φ may differ by {phi}")


def agreement(way: Way, feed: Feed, *, places: bool) -> Agreement | None:
    """What `compare` finds in a process of its own, whose words are thrown away."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), redirect, (os.devnull,)) as pool:
        return pool.submit(compare, way, replace(feed, placed=places), places=places).result()


def compare(way: Way, feed: Feed, *, places: bool) -> Agreement | None:
    """Of the first patches of `way`: types, shapes, and where each lies, the difference to the reference.

    None unless `places`: rotated patches lie at no box. Raises RuntimeError for another type or shape.
    """
    by_case = {volume.case: volume for volume in feed.volumes}
    batches = way.batches(feed)
    seen: list[tuple[float, int, float]] = []
    try:
        while len(seen) < PATCHES:
            batch = next(batches)
            _check_form(way.name, batch, feed)
            if not places:
                return None
            seen += [_differences(batch, number, by_case, feed) for number in range(feed.batch)]
    finally:
        batches.close()
    image, label, phi = zip(*seen, strict=True)
    return Agreement(patches=len(seen), image=max(image), label=sum(label), phi=max(phi))


def _check_form(name: str, batch: Delivered, feed: Feed) -> None:
    import torch

    found = [(tuple(each.shape), each.dtype) for each in (batch.image, batch.label, batch.phi)]
    shape = (feed.batch, *feed.patch)
    if found != [(shape, torch.float32), (shape, torch.int16), (shape, torch.float32)]:
        raise RuntimeError(f"{name} delivers {found}")


def _differences(
    batch: Delivered, number: int, by_case: dict[str, Volume], feed: Feed
) -> tuple[float, int, float]:
    case, corner = batch.places()[number]
    wanted = by_case[case].patch(corner, feed.patch)
    image, label, phi = (each[number].numpy() for each in (batch.image, batch.label, batch.phi))
    return (
        float(np.abs(image - wanted.image).max()),
        int(np.count_nonzero(label != wanted.label)),
        float(np.abs(phi - wanted.phi).max()),
    )
