"""Φ of one mask by everything people use for it, side by side; and how the time grows.

    python -m benchmarks.maps [MASK] [--labels 5,6,7] [--units mm] [--threads 2] [--repeat 9] [--json FILE]

Without MASK a generated knee is measured. Label values go in, the finished map comes out; reading the file
and compiling are not counted. docs/benchmarks.md explains every number.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from benchmarks import growth, lineup, standings
from benchmarks.contenders import Way
from benchmarks.machine import cores
from benchmarks.measured import Measured, measure
from benchmarks.report import print_ratios, print_section, setting, write_json
from benchmarks.subject import Subject, read_subject
from dmapsvc.errors import DmapsvcError
from dmapsvc.spec import MapSpec

PACKAGES = ("numpy", "scipy", "numba", "edt", "SimpleITK", "monai", "torch")
PATIENCE = 25.0  # seconds in all, after which a way is spared further rounds
GROWING_PATIENCE = 4.0  # likewise, on each of the volumes that grow
LONGEST = 15.0  # seconds a round: a way that would take longer on a larger volume is not asked to


def main() -> int:
    """Run the benchmark on the command line's arguments; the exit code."""
    arguments = _arguments()
    try:
        lineup.check_installed()
        subject = read_subject(arguments.mask, MapSpec.parse(arguments.labels, arguments.units))
    except DmapsvcError as error:
        print(f"error: {error.detail}", file=sys.stderr)
        return 2
    report = setting(PACKAGES)
    threads = arguments.threads
    ways = fitting(lineup.all_ways(threads), subject, psutil.virtual_memory().available)
    (whole,) = measure("side by side", [(subject, ways)], arguments.repeat, PATIENCE)
    standings.print_whole(whole)
    growing = [lineup.numba(threads), lineup.edt(threads), lineup.CROPS]
    cubes = growth.cubes(subject, arguments.sides)
    sizes = _measure_grown("sizes", cubes, [*growing, lineup.SCIPY], whole, arguments)
    standings.print_growth("Growth with the number of voxels", growth.CUBE_RECIPE, "volume", sizes)
    splits = growth.splits(subject, arguments.counts)
    classes = _measure_grown("classes", splits, growing, whole, arguments)
    standings.print_growth("Growth with the number of classes", growth.SPLIT_RECIPE, "classes", classes)
    ratios = standings.ratios(whole, sizes, classes, threads)
    print_section("Ratios of this run", standings.TARGETS_ARE_FOR)
    print_ratios(ratios)
    report |= {"whole": whole.to_json(), "recipes": [growth.CUBE_RECIPE, growth.SPLIT_RECIPE]}
    report |= {"sizes": [each.to_json() for each in sizes], "classes": [each.to_json() for each in classes]}
    write_json(arguments.json, report | {"ratios": [ratio.to_json() for ratio in ratios]})
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.maps", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("mask", nargs="?", type=Path, help="a label file; left out: a generated knee")
    parser.add_argument(
        "--labels", help="values that are classes, like 5,6,7; left out: every non-zero value"
    )
    parser.add_argument("--units", default="mm", choices=["voxel", "mm"])
    parser.add_argument(
        "--threads", type=int, default=cores(), help=f"of the ways that can use them; {cores()} if left out"
    )
    parser.add_argument(
        "--repeat",
        type=int,
        default=9,
        help="rounds; the fastest of each way is shown (default: %(default)s)",
    )
    parser.add_argument("--sides", type=_numbers, default=growth.SIDES, help="of the cubes, like 64,128")
    parser.add_argument("--counts", type=_numbers, default=growth.COUNTS, help="of classes, like 1,3,300")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    return parser.parse_args()


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def fitting(ways: Mapping[str, Way], subject: Subject, memory: int) -> dict[str, Way]:
    """`ways` without MONAI's if that would take more than half of `memory`, in bytes, which is then said.

    It holds a float64 and a byte a voxel for every region at once.
    """
    needed = 9 * (len(subject.classes) + 1) * subject.labels.size
    if needed <= memory / 2:
        return dict(ways)
    print(f"left out: {lineup.MONAI}, which needs {needed / 2**30:.0f} GiB of memory")
    return {name: way for name, way in ways.items() if name != lineup.MONAI}


def _measure_grown(
    what: str, grown: Sequence[Subject], names: Sequence[str], whole: Measured, arguments: argparse.Namespace
) -> list[Measured]:
    """The ways called `names` on each of `grown` that takes them no longer than LONGEST, by their time on
    `whole`.
    """
    ways = lineup.all_ways(arguments.threads)
    pairs = []
    for subject in grown:
        factor = subject.labels.size / whole.subject.labels.size
        pairs.append(
            (subject, {name: ways[name] for name in names if whole.seconds(name) * factor <= LONGEST})
        )
    return measure(what, pairs, arguments.repeat, GROWING_PATIENCE)


if __name__ == "__main__":
    sys.exit(main())
