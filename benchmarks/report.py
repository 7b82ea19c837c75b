"""How a benchmark tells what it measured: tables, ratios beside their targets, and a JSON file.

Nothing is measured here.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import machine, versions
from benchmarks.timing import Progress
from dmapsvc.cli.output import Meter, print_table


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A number that does not depend on how fast the machine is; `target` is None where nothing was promised.

    `at_least`: the target is the least it may be, else the most.
    """

    name: str
    value: float
    target: float | None = None
    at_least: bool = True

    @property
    def holds(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target

    def to_json(self) -> dict[str, Any]:
        """For the JSON file."""
        sign = ">=" if self.at_least else "<="
        target = None if self.target is None else f"{sign} {self.target:g}"
        return {"name": self.name, "value": self.value, "target": target, "holds": self.holds}


def print_ratios(ratios: Sequence[Ratio]) -> None:
    """A table on stdout: each ratio, its target, and whether it holds."""
    words = {True: "holds", False: "does NOT hold", None: ""}
    rows = [(ratio.to_json(), words[ratio.holds]) for ratio in ratios]
    print_table(
        ["ratio", "value", "target", ""],
        [[told["name"], f"{told['value']:.2f}", told["target"] or "", word] for told, word in rows],
    )


def print_section(title: str, *lines: str) -> None:
    """A title with an empty line before it, and sentences below it, on stdout."""
    print("", title, *lines, sep="\n")


def setting(packages: Sequence[str]) -> dict[str, Any]:
    """What the figures depend on, for the JSON file; printed too."""
    place, found = machine(), versions(packages)
    print_section(
        f"{place['cpu']}, {place['cores']} cores, {place['memory_gib']} GiB, {place['system']}",
        ", ".join(f"{package} {number}" for package, number in found.items()),
    )
    return {"machine": place, "versions": found}


def write_json(path: Path | None, report: dict[str, Any]) -> None:
    """Write the report to `path`, if one is given."""
    if path is not None:
        path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def progress(what: str) -> Iterator[Progress]:
    """A bar on stderr for as long as the block lasts; a line now and then where there is no terminal."""
    sys.stdout.flush()
    log = logging.getLogger("dmapsvc")
    before = log.level
    log.setLevel(logging.ERROR)  # a backend that does not work here is no news: its row is not there
    try:
        with Meter(what, None, "steps") as meter:
            yield lambda done, steps, note: meter.show(done, note, total=steps)
    finally:
        log.setLevel(before)
