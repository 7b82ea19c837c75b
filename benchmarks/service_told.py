"""What the service costs, as it is told: the tables and the ratios of `benchmarks.service`.

Nothing is measured here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.report import Ratio, print_ratios, print_section
from benchmarks.service_case import PRECOMPUTE, SERVICE, Took, Upload
from benchmarks.service_queue import Drain, Starts
from dmapsvc.cli.output import print_table


@dataclass(frozen=True, kw_only=True)
class Figures:
    """All that was measured with one database; `idle` is the part of a core that each part takes."""

    database: str
    upload: Upload
    drain: Drain
    starts: Starts
    ways: dict[str, Took]
    idle: dict[str, float]

    def ratios(self) -> list[Ratio]:
        """What was promised, and what stands beside it."""
        service, precompute = self.ways[SERVICE], self.ways[PRECOMPUTE]
        idle = 100 * self.idle["worker"] / self.drain.workers
        return [
            Ratio(name=f"tiny jobs/s, {self.drain.workers} workers", value=self.drain.rate, target=150),
            Ratio(
                name="ms from acceptance to start, median",
                value=1000 * self.starts.median,
                target=100,
                at_least=False,
            ),
            Ratio(name="upload MB/s / writing the file", value=self.upload.sent / self.upload.written),
            Ratio(
                name="seconds, service / precompute",
                value=service.seconds / precompute.seconds,
                target=1.15,
                at_least=False,
            ),
            Ratio(
                name="CPU seconds, service / precompute", value=service.cpu_seconds / precompute.cpu_seconds
            ),
            Ratio(name="% of a core, an idle worker", value=idle, target=3, at_least=False),
        ]

    def to_json(self) -> dict[str, Any]:
        """For the JSON file."""
        return {**asdict(self), "ratios": [ratio.to_json() for ratio in self.ratios()]}


def print_figures(figures: Figures, mask: str) -> None:
    """The tables of one database; `mask` is what the case is called."""
    drain, upload, starts = figures.drain, figures.upload, figures.starts
    print_section(f"{figures.database}: {drain.jobs} tiny jobs, CPU ms a job, and % of a core when idle")
    print_table(
        ["part", "uploading", "running", "idle"],
        [
            [part, f"{drain.upload_cpu_ms[part]:.2f}", f"{took:.2f}", f"{100 * figures.idle[part]:.2f}"]
            for part, took in drain.drain_cpu_ms.items()
        ],
    )
    print(f"{drain.accepted:.0f} uploads/s; {drain.rate:.0f} jobs/s by {drain.workers} workers.")
    print(f"Start after {1000 * starts.median:.0f} ms, the slowest tenth after {1000 * starts.slow:.0f} ms.")
    print(f"Upload {upload.sent:.0f} MB/s, writing the file {upload.written:.0f} MB/s.")
    print_section(f"{figures.database}: {mask}")
    print_table(
        ["way", "seconds", "CPU seconds"],
        [[way, f"{took.seconds:.3f}", f"{took.cpu_seconds:.3f}"] for way, took in figures.ways.items()],
    )
    print_section(
        f"{figures.database}: ratios of this run", "Targets are for a machine that does nothing else."
    )
    print_ratios(figures.ratios())
