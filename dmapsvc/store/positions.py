"""Where a case has voxels of each label: some of them, so that a patch around one is drawn without a scan.

Drawing them when the case is published, and the one chunk in which they lie. Which patch is drawn around
which position is the loader's affair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numcodecs import Blosc
from numpy.typing import NDArray

from dmapsvc.errors import Damaged
from dmapsvc.store import layout
from dmapsvc.store.checksum import seal, unseal
from dmapsvc.store.record import CaseRecord
from dmapsvc.store.shard import REMEDY, codec_of

_BLOCK = 1 << 20  # voxels looked at together: small enough for a cache, large enough for NumPy


def draw_positions(label: NDArray[Any], record: CaseRecord) -> NDArray[np.unsignedinteger[Any]]:
    """Voxels of each region of `record` but the background, as (n, 3) rows (z, y, x), grouped by region.

    `label` is the case's label map, (z, y, x). Each region's voxels are drawn uniformly without replacement,
    as many as `layout.position_counts` says, and lie in the order of the volume; the draw depends on the
    label's value and its voxels alone.
    """
    counts = dict(layout.position_counts(record))
    voxels = {region.value: region.voxels for region in record.regions}
    ranks = {value: _draw_ranks(value, voxels[value], count) for value, count in counts.items()}
    places = _places(label, ranks)
    rows = [np.stack(np.unravel_index(places[value], label.shape), axis=-1) for value in counts]
    kind = layout.positions_type(record.shape)
    return np.concatenate([np.empty((0, 3), kind), *(row.astype(kind) for row in rows)])


def write_positions(folder: Path, positions: NDArray[np.unsignedinteger[Any]]) -> None:
    """Write the chunk of the array in the folder `folder`, whose metadata are there."""
    if not len(positions):
        return
    path = folder / layout.POSITIONS_CHUNK
    path.parent.mkdir(parents=True)
    with path.open("xb") as file:
        file.write(seal(codec_of(layout.POSITIONS).encode(np.ascontiguousarray(positions))))


def read_positions(folder: Path, record: CaseRecord, what: str) -> NDArray[np.unsignedinteger[Any]]:
    """The positions of the case that lies in the folder `folder`, (n, 3) rows (z, y, x), checksum verified.

    `what` names them in errors. Raises Damaged if they are missing or are not what was written.
    """
    kind = layout.positions_type(record.shape)
    count = sum(count for _, count in layout.position_counts(record))
    if not count:
        return np.empty((0, 3), kind)
    try:
        payload = unseal(memoryview((folder / layout.POSITIONS / layout.POSITIONS_CHUNK).read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        raise Damaged(f"{what}: its chunk is missing", remedy=REMEDY) from None
    if payload is None:
        raise Damaged(f"{what}: its chunk fails its checksum", remedy=REMEDY)
    try:
        return np.frombuffer(Blosc().decode(payload), kind).reshape(count, 3)
    except (RuntimeError, ValueError) as error:
        raise Damaged(f"{what}: its chunk does not decode", remedy=REMEDY) from error


def by_label(
    rows: NDArray[np.unsignedinteger[Any]], record: CaseRecord
) -> dict[int, NDArray[np.unsignedinteger[Any]]]:
    """The rows of each label value, parts of `rows`."""
    counts = layout.position_counts(record)
    parts = np.split(rows, np.cumsum([count for _, count in counts]))
    return {value: part for (value, _), part in zip(counts, parts, strict=False)}


def _draw_ranks(value: int, voxels: int, count: int) -> NDArray[np.int64]:
    """Which of a label's voxels, counted in C order, are drawn: ascending."""
    random = np.random.default_rng((layout.POSITIONS_SEED, value))
    return np.sort(random.choice(voxels, count, replace=False, shuffle=False))


def _places(label: NDArray[Any], ranks: Mapping[int, NDArray[np.int64]]) -> dict[int, NDArray[np.int64]]:
    """The flat indices of the voxels of the given ranks, by label value."""
    found: dict[int, list[NDArray[np.int64]]] = {value: [] for value in ranks}
    passed = dict.fromkeys(ranks, 0)
    for value, starts, lengths in _runs(label):
        if value not in ranks:
            continue
        ends = passed[value] + np.cumsum(lengths)
        first, last = np.searchsorted(ranks[value], (passed[value], ends[-1]))
        here = ranks[value][first:last]
        run = np.searchsorted(ends, here, side="right")
        found[value].append(starts[run] + lengths[run] - ends[run] + here)
        passed[value] = int(ends[-1])
    return {value: np.concatenate(parts) for value, parts in found.items()}


def _runs(label: NDArray[Any]) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """Runs of equal voxels, in the order of the volume: by block and label value, their flat starts and
    lengths.
    """
    planes = max(1, _BLOCK // label[0].size)
    for first in range(0, len(label), planes):
        block = np.ascontiguousarray(label[first : first + planes]).ravel()
        starts = np.concatenate(([0], np.flatnonzero(block[1:] != block[:-1]) + 1))
        lengths = np.diff(starts, append=block.size)
        values = block[starts]
        order = np.argsort(values, kind="stable")
        for runs in np.split(order, np.flatnonzero(np.diff(values[order])) + 1):
            yield int(values[runs[0]]), starts[runs] + first * label[0].size, lengths[runs]
