"""Time on the card, by CUDA's events: each pass of the cuda backend, and one cuCIM call a region.

What crosses the bus is counted where labels go up and Φ comes back. Nothing is printed here. CuPy is imported
by whoever calls, and the card is theirs alone meanwhile.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.subject import Subject
from dmapsvc.maps.regions import region_map
from dmapsvc.spec import MapSpec, Quantisation

ON_THE_BUS = ("labels up", "Φ down")
_COPIED = 1 << 30  # bytes, to measure how fast memory is; beyond what any cache holds


@dataclass(frozen=True, kw_only=True)
class Pass:
    """A step: the median of its milliseconds, and the least bytes that it must read and write."""

    name: str
    milliseconds: float
    bytes: int


def fused_passes(subject: Subject, rounds: int) -> list[Pass]:
    """The steps from labels on the host to Φ as it is stored, uint16, on the host, in order."""
    from dmapsvc.maps.cuda_kernels import kernels
    from dmapsvc.maps.cuda_volume import CardVolume

    regions = region_map(subject.labels, MapSpec(labels=subject.classes))
    voxels, label = regions.labels.size, regions.labels.itemsize
    table = regions.table.astype(regions.labels.dtype)
    maxima = np.ones(len(regions.values), np.float32)
    run = kernels(8 * label)
    volume = CardVolume(regions)

    def labels_up() -> None:
        volume.send(regions.labels, volume.regions)
        volume.send(table, volume.table)

    def summary() -> None:
        volume.clear_summary()
        run.columns(volume, subject.sampling)

    def quantise() -> None:
        volume.send(maxima, volume.table)
        run.quantise(volume, Quantisation(scale_factor=1 / 64))

    steps: list[tuple[str, Callable[[], object], float]] = [
        (ON_THE_BUS[0], labels_up, label),
        ("edges", lambda: run.edges(volume), label + 1 / 8),
        ("rows", lambda: run.rows(volume), 2 * label + 1 / 8 + 2),
        ("planes", lambda: run.planes(volume, subject.sampling), label + 2 + 4),
        ("columns", summary, label + 4 + 4),
        ("quantise", quantise, label + 4 + 2),
        (ON_THE_BUS[1], lambda: volume.fetch(volume.first, volume.shape, np.uint16), 2),
    ]
    times = _rounds([step for _, step, _ in steps], rounds)
    return [
        Pass(name=name, milliseconds=statistics.median(took), bytes=round(each * voxels))
        for (name, _, each), took in zip(steps, times, strict=True)
    ]


def cucim_calls(subject: Subject, rounds: int) -> Pass:
    """K + 1 calls on the whole volume, Φ float32 left on the card: what people write with cuCIM."""
    import cupy

    transform = cucim_transform()
    labels = cupy.asarray(subject.labels)
    members = [labels == value for value in subject.classes]
    members.insert(0, ~sum(members[1:], members[0]))
    phi = cupy.zeros(labels.shape, np.float32)

    def calls() -> None:
        for member in members:
            distances = transform(member, sampling=subject.sampling)
            phi[...] = cupy.where(member, distances.max() - distances, phi)

    (took,) = _rounds([calls], rounds)
    return Pass(name="K + 1 cuCIM calls", milliseconds=statistics.median(took), bytes=0)


def cucim_transform() -> Callable[..., Any]:
    """The distance transform of cuCIM, or CuPy's copy of it where cuCIM is not installed."""
    name = "cucim.core.operations.morphology" if find_spec("cucim") else "cupyx.scipy.ndimage"
    transform: Callable[..., Any] = import_module(name).distance_transform_edt
    return transform


def bandwidth(rounds: int) -> float:
    """Bytes a second of the card's memory, read and written, by copying a block onto another."""
    import cupy

    source, target = cupy.cuda.alloc(_COPIED), cupy.cuda.alloc(_COPIED)
    (took,) = _rounds([lambda: target.copy_from_device_async(source, _COPIED)], rounds)
    return 2 * _COPIED / statistics.median(took) * 1000


def _rounds(steps: list[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Milliseconds of each step in each round, after one round to warm up."""
    import cupy

    times: list[list[float]] = [[] for _ in steps]
    with cupy.cuda.Stream(non_blocking=True) as stream:
        for turn in range(rounds + 1):
            events = [stream.record()]
            for step in steps:
                step()
                events.append(stream.record())
            stream.synchronize()
            for i, took in enumerate(times):
                if turn:
                    took.append(cupy.cuda.get_elapsed_time(events[i], events[i + 1]))
    return times
