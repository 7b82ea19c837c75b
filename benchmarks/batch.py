"""What it took to make a folder of maps, as it is told: the tables and the ratios of `benchmarks.precompute`.

Nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.cases import Masks
from benchmarks.processes import Usage
from benchmarks.report import Ratio, print_section
from benchmarks.stages import Alone
from dmapsvc.cli.output import print_table

_PHI_BYTES = 2  # a voxel of Φ in 16 bits: the measure of MB/s, however a way stores it

_COLUMNS = {
    "made": "cases that were really made",
    "seconds": "wall clock of the command for those",
    "start": "wall clock of the same command where nothing is to do",
    "for all": "seconds for all cases: start + (seconds - start) x voxels of all / voxels of those made",
    "cases/s": "all cases over the seconds for all",
    "MB/s": "Φ of all cases in 16 bits, before compression, over the seconds for all",
    "CPU s a case": "user and system, of all processes, over the cases made",
    "disk MB a case": "what the command left on disk, over the cases made",
    "peak MiB": "the largest sum of the resident memory of all processes; what they share counts in each",
}


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One way's run over the masks `made`, which are all or some of those there are.

    `start` is the seconds that its command takes where nothing is to do. `disk_bytes` is what it left on
    disk.
    """

    way: str
    made: Masks
    usage: Usage
    disk_bytes: int
    start: float

    def seconds_for(self, masks: Masks) -> float:
        """What all of `masks` take, reckoned by voxels."""
        return self.start + (self.usage.seconds - self.start) * masks.total / self.made.total

    @property
    def cpu_seconds_a_case(self) -> float:
        """CPU seconds over the cases that were made."""
        return self.usage.cpu_seconds / self.made.count

    def to_json(self, masks: Masks) -> dict[str, Any]:
        """For the JSON file."""
        seconds = self.seconds_for(masks)
        return {
            "way": self.way,
            "cases_made": self.made.count,
            **asdict(self.usage),
            "start_seconds": self.start,
            "disk_bytes": self.disk_bytes,
            "seconds_for_all": seconds,
            "cases_per_second": masks.count / seconds,
            "bytes_per_second": _PHI_BYTES * masks.total / seconds,
        }


def print_batches(batches: Sequence[Batch], masks: Masks) -> None:
    """A row a way."""
    print_section(f"{masks.count} cases, {masks.total / 1e6:.0f} million voxels")
    print_table(["way", *_COLUMNS], [_row(batch, batch.to_json(masks)) for batch in batches])
    print(*(f"{column}: {meaning}" for column, meaning in _COLUMNS.items()), sep="\n")


def print_stages(alone: Alone, ours: Usage, cores: int) -> None:
    """What each stage takes alone, and what no run could beat."""
    print_section(
        "The stages alone",
        "All cases one at a time with nothing beside; each stage with the threads that it has in the run.",
    )
    print_table(["stage", "seconds"], [[stage, f"{took:.2f}"] for stage, took in alone.seconds.items()])
    floor = alone.cpu_seconds / cores
    print(f"Floor: {alone.cpu_seconds:.2f} CPU seconds of it all over {cores} cores are {floor:.2f} s.")
    print(f"The run took {ours.seconds:.2f} s, {ours.seconds / floor:.2f} times the floor.")


def rates(baselines: Sequence[tuple[Batch, float]], ours: Batch, masks: Masks) -> list[Ratio]:
    """How many times a baseline's rate is ours, beside what was promised; then the same of CPU seconds."""
    rates = [
        Ratio(
            name=f"cases/s, {ours.way} / {baseline.way}",
            value=baseline.seconds_for(masks) / ours.seconds_for(masks),
            target=target,
        )
        for baseline, target in baselines
    ]
    costs = [
        Ratio(
            name=f"CPU s a case, {baseline.way} / {ours.way}",
            value=baseline.cpu_seconds_a_case / ours.cpu_seconds_a_case,
        )
        for baseline, _ in baselines
    ]
    return rates + costs


def overlaps(alone: Alone, ours: Batch) -> list[Ratio]:
    """Wall clock of the run over that of its busiest stage alone: 1 would be all else hidden behind it.

    With the command's start, as was promised, and without.
    """
    busiest = alone.seconds[alone.busiest]
    return [
        Ratio(
            name=f"seconds of the run / of its busiest stage alone, {alone.busiest}",
            value=ours.usage.seconds / busiest,
            target=1.4,
            at_least=False,
        ),
        Ratio(name="the same without the start", value=(ours.usage.seconds - ours.start) / busiest),
    ]


def _row(batch: Batch, told: dict[str, Any]) -> list[object]:
    return [
        batch.way,
        batch.made.count,
        f"{batch.usage.seconds:.1f}",
        f"{batch.start:.1f}",
        f"{told['seconds_for_all']:.1f}",
        f"{told['cases_per_second']:.3f}",
        f"{told['bytes_per_second'] / 1e6:.1f}",
        f"{batch.cpu_seconds_a_case:.2f}",
        f"{batch.disk_bytes / batch.made.count / 1e6:.1f}",
        f"{batch.usage.peak_bytes / 2**20:.0f}",
    ]
