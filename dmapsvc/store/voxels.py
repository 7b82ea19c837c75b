"""The voxels of a published case against its record: how many each region has, how its Φ runs, where its
positions lie, and how its image is.

Chunk by chunk, so that a volume of any size takes little memory.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmapsvc.region import Region
from dmapsvc.store import layout
from dmapsvc.store.moments import Running, are_close
from dmapsvc.store.record import CaseRecord, ImageRecord
from dmapsvc.store.shard import Shard

_FLOAT = 1e-5  # of M: the accuracy of Φ before it is quantised


def voxel_faults(record: CaseRecord, label: Shard, phi: Shard) -> Iterator[tuple[str, str]]:
    """Which array (`label` or `phi`) disagrees with the record, and how; raises Damaged where a chunk is
    unreadable.

    By its definition, Φ of a region is 0 where D is M, less than M everywhere, and has the recorded mean.
    """
    found = _Tally(record)
    for labels, stored in zip(label.blocks(), phi.blocks(), strict=True):
        found.add(labels.ravel(), stored.ravel())
    if found.voxels[-1]:
        yield "label", f"{found.voxels[-1]} voxels have labels that the record does not list"
    step = record.quantisation
    for place, region in enumerate(found.regions):
        voxels = int(found.voxels[place])
        if voxels != region.voxels:
            yield "label", f"region {region.value} has {voxels} voxels, {region.voxels} are recorded"
        elif voxels:
            figures = (found.lowest[place], found.highest[place], found.total[place] / voxels)
            least, most, mean = (float(figure) * step.scale_factor + step.add_offset for figure in figures)
            if fault := _phi_fault(region, least, most, mean, step.max_error):
                yield "phi", f"region {region.value}: {fault}"


def image_faults(record: ImageRecord, image: Shard) -> Iterator[str]:
    """Which channels do not have the moments that `record` gives them; raises Damaged where a chunk is
    unreadable.
    """
    chunks = math.prod(layout.chunk_grid("image", record.shape))
    blocks = image.blocks()
    for channel, recorded in enumerate(record.moments):
        running = Running()
        for block in itertools.islice(blocks, chunks):
            running.add(block)
        if not are_close(running.moments(), recorded):
            yield f"mean, deviation or range of channel {channel} are not as recorded"


def misplaced(record: CaseRecord, label: Shard, positions: NDArray[np.unsignedinteger[Any]]) -> int:
    """How many of a case's `positions`, (n, 3) rows (z, y, x), are there twice, outside the volume, or no
    voxels of the label that the record gives them; raises Damaged where a chunk is unreadable.
    """
    counts = layout.position_counts(record)
    values = np.repeat([value for value, _ in counts], [count for _, count in counts])
    rows = np.column_stack((positions, values)).astype(np.int64)
    rows = np.unique(rows[(rows[:, :3] < record.shape).all(axis=1)], axis=0)
    chunks, grid = layout.inner_chunks("label", record.shape), layout.chunk_grid("label", record.shape)
    numbers = np.ravel_multi_index(tuple((rows[:, :3] // chunks).T), grid)
    places = tuple((rows[:, :3] % chunks).T)
    right = 0
    for number in np.unique(numbers):
        here = np.flatnonzero(numbers == number)
        found = label.block(int(number))[tuple(place[here] for place in places)]
        right += int(np.count_nonzero(found == rows[here, 3]))
    return len(positions) - right


class _Tally:
    """Voxels, and least, largest and summed stored Φ, of each of `regions`; the last entry is what is of
    none.
    """

    def __init__(self, record: CaseRecord) -> None:
        self.regions = sorted(record.regions, key=lambda region: region.value)
        self._values = np.array([region.value for region in self.regions], np.int64)
        self._chosen = record.spec.labels
        count = len(self.regions) + 1
        self.voxels, self.total = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self.lowest, self.highest = np.full(count, 65_535), np.zeros(count, np.int64)

    def add(self, labels: NDArray[Any], stored: NDArray[Any]) -> None:
        """Count one chunk, flat."""
        places = self._places(labels)
        counts = np.bincount(places, minlength=len(self.voxels))
        self.voxels += counts
        for place in np.flatnonzero(counts):
            phi = stored if counts[place] == len(stored) else stored[places == place]
            self.total[place] += phi.sum(dtype=np.int64)
            self.lowest[place] = min(self.lowest[place], phi.min())
            self.highest[place] = max(self.highest[place], phi.max())

    def _places(self, labels: NDArray[Any]) -> NDArray[np.intp]:
        values = labels if self._chosen is None else np.where(np.isin(labels, self._chosen), labels, 0)
        places = np.searchsorted(self._values, values)
        listed = self._values.take(places, mode="clip") == values
        return np.where(listed, places, len(self._values))


def _phi_fault(region: Region, least: float, most: float, mean: float, max_error: float) -> str | None:
    bound = max_error + _FLOAT * max(1.0, region.maximum)
    if region.degenerate and most > 0:
        return "it has no boundary, and Φ is not 0"
    if least > bound:
        return f"the least Φ is {least:.6g}, not 0"
    if most > region.maximum + bound:
        return f"the largest Φ is {most:.6g}, above the largest distance {region.maximum:.6g}"
    if abs(mean - region.mean_phi) > bound:
        return f"the mean Φ is {mean:.6g}, {region.mean_phi:.6g} is recorded"
    return None
