"""Contenders on label maps: the race, and its timings by label map and way.

How the numbers are shown is not decided here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.contenders import Way
from benchmarks.lineup import entered
from benchmarks.report import progress
from benchmarks.subject import Subject
from benchmarks.timing import Contender, Timing, race


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The timings on one subject, by way."""

    subject: Subject
    timings: Mapping[str, Timing]

    def __contains__(self, way: str) -> bool:
        return way in self.timings

    def seconds(self, way: str) -> float:
        """Of the fastest round."""
        return self.timings[way].seconds

    def nanoseconds(self, way: str) -> float:
        """Of the fastest round, a voxel."""
        return self.seconds(way) / self.subject.labels.size * 1e9

    def peak(self, way: str) -> int:
        """Bytes: the labels, and the most that the work took above all that was there before it."""
        return self.subject.labels.nbytes + self.timings[way].peak_bytes

    def bytes_per_voxel(self, way: str) -> float:
        """`peak` by voxel."""
        return self.peak(way) / self.subject.labels.size

    def to_json(self) -> dict[str, Any]:
        """For the JSON file."""
        return {
            "subject": self.subject.name,
            "shape": self.subject.labels.shape,
            "dtype": str(self.subject.labels.dtype),
            "sampling": self.subject.sampling,
            "classes": len(self.subject.classes),
            "ways": {
                way: {
                    **asdict(timing),
                    "peak_bytes": self.peak(way),
                    "bytes_per_voxel": self.bytes_per_voxel(way),
                    "ns_per_voxel": self.nanoseconds(way),
                }
                for way, timing in self.timings.items()
            },
        }


def measure(
    what: str, pairs: Sequence[tuple[Subject, Mapping[str, Way]]], rounds: int, patience: float
) -> list[Measured]:
    """Race the ways of every subject against each other; `what` is the title of the progress bar.

    Of each way there is one process, whatever the subject. `rounds` and `patience` as for `race`.
    """
    with tempfile.TemporaryDirectory() as folder, progress(what) as tell:
        contenders: list[Contender] = []
        for number, (subject, ways) in enumerate(pairs):
            contenders += entered(ways, subject.task(Path(folder, f"{number}.npy")), subject.name)
        timings = race(contenders, rounds, patience=patience, progress=tell)
    return [
        Measured(subject=subject, timings={way: timings[f"{way}: {subject.name}"] for way in ways})
        for subject, ways in pairs
    ]
