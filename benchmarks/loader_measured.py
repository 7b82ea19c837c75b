"""All loaders on the same volumes: first whether they deliver the same, then cold, warm, and over HTTP.

How the numbers are shown is not decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import loader_lineup as lineup
from benchmarks import loader_pages as pages
from benchmarks.loader_checked import Agreement, agreement
from benchmarks.loader_feed import Feed
from benchmarks.loader_formats import STORE, write_formats
from benchmarks.loader_race import Plan, Run, Way, measure
from benchmarks.loader_remote import Remote, measure_remote
from benchmarks.timing import Progress
from dmapsvc.store import Dataset

COLD_PATCHES, COLD_SECONDS = 120, 5.0  # of a cold run: the first so many, but no longer than that


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A contender's runs: `warm`, of which the fastest counts, and `cold`.

    `resident`: the part of its files' pages that was in the page cache before the cold run. `disk_bytes`: a
    volume. `agreement` with the reference: None if its patches are rotated.
    """

    way: Way
    warm: Sequence[Run]
    cold: Run
    resident: float
    disk_bytes: float
    agreement: Agreement | None

    @property
    def best(self) -> Run:
        """The run of the highest rate."""
        return max(self.warm, key=lambda run: run.rate)

    def to_json(self) -> dict[str, Any]:
        """For the JSON file."""
        return {
            "way": self.way.name,
            "checksums": self.way.checksums,
            "patches_per_second": self.best.rate,
            "cpu_ms_per_patch": self.best.cpu_ms,
            "disk_bytes_per_volume": self.disk_bytes,
            "warm": [asdict(run) for run in self.warm],
            "cold": asdict(self.cold) | {"patches_per_second": self.cold.rate, "resident": self.resident},
            "agreement": None if self.agreement is None else asdict(self.agreement),
        }


def measure_all(
    ways: Sequence[Way], feed: Feed, plan: Plan, rounds: int, tell: Progress
) -> tuple[list[Standing], Remote | None]:
    """Measure `ways` in turn, `rounds` times; `feed`: what each is asked for, in the folder of all formats.

    The remote way is measured if dmapsvc's own is among them. Raises RuntimeError if one fails, or delivers
    other values than the rest.
    """
    disk = write_formats((way.format for way in ways), feed.volumes, feed.patch, feed.folder, tell)
    feeds = {way.name: replace(feed, folder=feed.folder / way.format) for way in ways}
    steps = len(ways) * (rounds + 2) + 1
    agreed: dict[str, Agreement | None] = {}
    for step, way in enumerate(ways):
        tell(step, steps, f"checking {way.name}")
        agreed[way.name] = _checked(way, feeds[way.name])
    cold, resident = {}, {}
    for step, way in enumerate(ways, start=len(ways)):
        tell(step, steps, f"cold: {way.name}")
        resident[way.name] = pages.drop(feeds[way.name].folder)
        cold[way.name] = measure(
            way, feeds[way.name], replace(plan, first=COLD_PATCHES, seconds=COLD_SECONDS)
        )
    warm: dict[str, list[Run]] = {way.name: [] for way in ways}
    for step in range(2 * len(ways), steps - 1):
        way = ways[step % len(ways)]
        tell(step, steps, f"warm: {way.name}")
        pages.warm(feeds[way.name].folder)
        warm[way.name].append(measure(way, feeds[way.name], plan))
    tell(steps - 1, steps, "over HTTP")
    found = [
        Standing(
            way=way,
            warm=warm[way.name],
            cold=cold[way.name],
            resident=resident[way.name],
            disk_bytes=disk[way.format],
            agreement=agreed[way.name],
        )
        for way in ways
    ]
    ours = next((way for way in ways if way.name == lineup.OURS), None)
    remote = measure_remote(ours, feeds[ours.name], plan, feed.folder, rounds) if ours else None
    return found, remote


def _checked(way: Way, feed: Feed) -> Agreement | None:
    found = agreement(way, feed, places=way.name not in lineup.ROTATED)
    if found is not None:
        found.check(way.name, _rounding(feed.folder) if way.format == STORE else 0.0)
    return found


def _rounding(dataset: Path) -> float:
    """By how much Φ may differ in any case of a dataset, as its records say."""
    store = Dataset.open(dataset)
    records = (store.record(case) for case in store.cases())
    return max(record.quantisation.max_error for record in records if record)
