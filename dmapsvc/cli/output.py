"""What the commands print: results on stdout, progress on stderr.

A terminal gets bars and colours, anything else plain lines without control codes.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column, Table
from rich.text import Text

from dmapsvc.listing import first_few

PLAIN_SECONDS = 10.0  # between two lines of progress where there is no terminal
SHOWN_REGIONS = 6  # of a case, in one cell of a table
SHOWN_LABELS = 12  # of a dataset, likewise
WIDE = 120  # columns of a terminal that has room for a long bar beside the note
RATE_SECONDS = 30.0  # the rate is that of the last so many: what was skipped at the start soon counts no more
FEW = 3  # units of a steady meter before which it tells no rate

Row = Sequence[object]


def print_table(columns: Sequence[str], rows: Iterable[Row]) -> None:
    """A table on stdout: aligned columns, one line a row."""
    cells = [[_cell(value) for value in row] for row in rows]
    console = Console(highlight=False)
    if console.is_terminal:
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in cells:
            table.add_row(*map(Text, row))
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for row in [list(columns), *cells]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_json(data: object) -> None:
    """Indented JSON on stdout."""
    print(json.dumps(data, indent=2, ensure_ascii=False))


def print_fields(fields: dict[str, object]) -> None:
    """One `name  value` a line on stdout."""
    width = max(map(len, fields))
    for name, value in fields.items():
        print(f"{name.ljust(width)}  {_cell(value)}")


def unit_word(units: str) -> str:
    """'voxels' or 'mm', as a spec's unit stands behind a distance."""
    return "voxels" if units == "voxel" else units


def region_maxima(regions: Iterable[dict[str, Any]], names: Mapping[int, str] | None = None) -> str:
    """'background: 206.7, femur: 51.9': the largest distance in each region, of regions as JSON.

    Of many regions, those with the largest distances and the number of the others.
    """
    names = {0: "background", **(names or {})}
    regions = list(regions)
    if len(regions) > SHOWN_REGIONS:
        regions.sort(key=lambda region: -float(region["maximum"]))
    words = [f"{names.get(region['value'], region['value'])}: {region['maximum']:.4g}" for region in regions]
    return first_few(words, SHOWN_REGIONS)


def label_list(labels: Sequence[int] | None) -> str:
    """'5,6,7', 'all', or the first few of many labels and the number of the others."""
    if labels is None:
        return "all"
    return first_few(labels, SHOWN_LABELS, ",")


def without_labels(regions: Iterable[Sequence[int]]) -> str:
    """'; 1 case has no label at all', for the values of each case's regions; '' if there is no such case."""
    count = sum(not any(values) for values in regions)
    return f"; {plural(count, 'case')} {'has' if count == 1 else 'have'} no label at all" if count else ""


def seconds_by_stage(seconds: Mapping[str, float]) -> str:
    """'read 0.12, map 0.30'."""
    return ", ".join(f"{stage} {duration:.2f}" for stage, duration in seconds.items())


def plural(count: int, noun: str) -> str:
    """'1 case', '2 cases'."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


class Notes:
    """The notes of many cases: one that several share is told once."""

    def __init__(self) -> None:
        self._titles: dict[str, list[str]] = {}

    def add(self, title: str, notes: Iterable[str]) -> None:
        """Keep the notes of a case, which lines about it call `title`."""
        for note in notes:
            self._titles.setdefault(note, []).append(title)

    def lines(self) -> list[str]:
        """'a: note' for a note of one case, 'note (3 cases)' for one of several."""
        return [
            f"{titles[0]}: {note}" if len(titles) == 1 else f"{note} ({plural(len(titles), 'case')})"
            for note, titles in self._titles.items()
        ]


class Meter:
    """The progress of one long thing, with rate and time left, on stderr; a context manager.

    A bar on a terminal. Elsewhere a line every ten seconds, so that a log shows that it goes on. `unit` is
    what is counted ('cases', 'patches'); 'B' shows bytes as MB. `rate=False`: the notes tell one themselves.
    `steady`: the units are many and alike, with long pauses now and then, as validations are in a training;
    the rate is then the mean since the first unit, so that the time left has its share of them.
    """

    def __init__(
        self, what: str, total: float | None, unit: str, *, rate: bool = True, steady: bool = False
    ) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._what, self._total, self._unit, self._rate = what, total, unit, rate
        self._steady = steady
        self._seen: deque[tuple[float, float]] = deque()  # when, how much was done: for the rate of late
        self._start: float | None = None  # how much was done when this began
        self._told = time.monotonic()
        self._bar: Progress | None = None
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=20 if self._console.width >= WIDE else 5),
                _Words(self),
                expand=True,
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task(what, total=total, note="")

    def __enter__(self) -> Meter:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, done: float, note: str = "", *, total: float | None = None) -> None:
        """`done` of the total is done; `note` says what is going on."""
        now = time.monotonic()
        self._see(now, done)
        self._total = total or self._total
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=self._total, note=note)
        elif now - self._told >= PLAIN_SECONDS:
            self.say(f"{self._what}: {_joined(self.counts(), note)}")

    def log(self, line: str) -> None:
        """A line for a log; a terminal, where the bar tells as much, does not show it."""
        if self._bar is None:
            self.say(line)

    def say(self, line: str) -> None:
        """A line that stays, above the bar."""
        self._told = time.monotonic()
        self._console.print(Text(line.rstrip()), soft_wrap=True)

    def counts(self) -> str:
        """What is done, of how much, and, once a first unit ended (a few, of many), the rate and the time
        left.
        """
        first, before = self._seen[0] if self._seen else (0.0, 0.0)
        done = self._seen[-1][1] if self._seen else 0.0
        parts = [_amount(done, self._total, self._unit)]
        rate = (done - before) / max(time.monotonic() - first, 1e-6)
        enough = done - before >= FEW if self._steady else done - (self._start or 0.0) >= 1
        if rate > 0 and enough:
            if self._rate:
                parts.append(_rate(rate, self._unit))
            if self._total:
                parts.append(f"{timedelta(seconds=round(max(self._total - done, 0.0) / rate))} left")
        return ", ".join(parts)

    def _see(self, now: float, done: float) -> None:
        """What the rate is reckoned from: all of late, or, steady, the end of the first unit, and now."""
        self._start = done if self._start is None else self._start
        if self._steady:
            begun = bool(self._seen) and self._seen[0][1] > self._start  # starting up is no unit's time
            while len(self._seen) > begun:
                self._seen.pop()
        self._seen.append((now, done))
        while not self._steady and len(self._seen) > 2 and now - self._seen[0][0] > RATE_SECONDS:
            self._seen.popleft()


class _Words(ProgressColumn):
    """The counts and the note, cut where the terminal ends."""

    def __init__(self, meter: Meter) -> None:
        super().__init__(table_column=Column(no_wrap=True, ratio=1))
        self._meter = meter

    def render(self, task: Task) -> Text:
        return Text(_joined(self._meter.counts(), task.fields["note"]))


def _joined(counts: str, note: str) -> str:
    """'2/4 cases; b: map'."""
    return f"{counts}; {note}" if note else counts


def _amount(done: float, total: float | None, unit: str) -> str:
    if unit == "B":
        return f"{done / 1e6:.1f}/{total / 1e6:.1f} MB" if total else f"{done / 1e6:.1f} MB"
    whole = int(done + 1e-6)  # what is under way is not done
    return f"{whole}/{total:.0f} {unit}" if total else f"{whole} {unit}"


def _rate(rate: float, unit: str) -> str:
    if unit == "B":
        return f"{rate / 1e6:.1f} MB/s"
    if 0 < rate < 1:
        return f"{1 / rate:.1f} s each"
    return f"{rate:.1f}/s"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (tuple, list)):
        return ", ".join(map(_cell, value)) or "-"
    return str(value)
