"""What it costs to measure a prediction, beside MONAI and DeepMind's surface-distance; and how they agree.

    python -m benchmarks.metrics [MASK] [--labels 5,6,7] [--tolerance 1] [--repeat 5] [--json FILE]

Without MASK a generated knee is measured. Label maps go in, numbers come out; reading the file is not
counted. docs/benchmarks.md explains every number.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks import metrics_ways as ways
from benchmarks.metrics_ways import Task, Values
from benchmarks.predicted import RECIPE, noisy_labels
from benchmarks.report import Ratio, print_ratios, print_section, progress, setting, write_json
from benchmarks.subject import Subject, read_subject
from benchmarks.timing import Contender, Timing, race
from demo import phantom
from dmapsvc.cli.output import print_table
from dmapsvc.errors import DmapsvcError
from dmapsvc.spec import MapSpec

PACKAGES = ("numpy", "scipy", "monai", "torch", "surface-distance")
SMALL = (48, 96, 96)  # voxels: a validation subject of the knee benchmark

Way = Callable[[Task], Callable[[], Values]]

_COUNTS = {"truth_voxels", "predicted_voxels"}

OURS, SINGLE, MONAI, DEEPMIND = "dmapsvc", "dmapsvc, one by one", "MONAI", "surface-distance"
WHOLE: Mapping[str, Way] = {
    OURS: ways.together,
    SINGLE: ways.one_by_one,
    MONAI: ways.monai,
    DEEPMIND: ways.deepmind,
}
VALIDATION: Mapping[str, Way] = {OURS: ways.quick, MONAI: ways.quick_monai}


def main() -> int:
    """Run the benchmark on the command line's arguments; the exit code."""
    arguments = _arguments()
    try:
        subject = read_subject(arguments.mask, MapSpec.parse(arguments.labels, "mm"))
    except DmapsvcError as error:
        print(f"error: {error.detail}", file=sys.stderr)
        return 2
    report = setting(PACKAGES)
    whole = _measured("all metrics", subject, WHOLE, arguments)
    small = _measured("in a validation", _validation(), VALIDATION, arguments)
    ratios = [_over(whole, way) for way in (SINGLE, MONAI, DEEPMIND)]
    ratios.append(_over(small, MONAI, ", in a validation"))
    print_section("Ratios of this run")
    print_ratios(ratios)
    timings = {"whole": whole, "validation": small}
    report |= {name: {way: asdict(one) for way, one in each.items()} for name, each in timings.items()}
    write_json(arguments.json, report | {"ratios": [ratio.to_json() for ratio in ratios]})
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.metrics",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("mask", nargs="?", type=Path, help="a label file; left out: a generated knee")
    parser.add_argument(
        "--labels", help="values that are classes, like 5,6,7; left out: every non-zero value"
    )
    parser.add_argument("--tolerance", type=float, default=1.0, help="of the NSD, in mm (default: 1)")
    parser.add_argument(
        "--repeat", type=int, default=5, help="rounds; the fastest of each way is shown (default: 5)"
    )
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    return parser.parse_args()


def _validation() -> Subject:
    labels, affine = phantom.knee(0, SMALL)
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0)
    return Subject(name="generated knee", labels=labels, classes=tuple(phantom.NAMES), sampling=(z, y, x))


def _measured(
    what: str, subject: Subject, lineup: Mapping[str, Way], arguments: argparse.Namespace
) -> dict[str, Timing]:
    """The timings by way, printed, and how far the ways' values lie apart."""
    with tempfile.TemporaryDirectory() as folder:
        task = Task(
            file=Path(folder, "pair.npz"),
            classes=subject.classes,
            spacing=subject.sampling,
            tolerance=arguments.tolerance,
        )
        np.savez(task.file, truth=subject.labels, prediction=noisy_labels(subject.labels, subject.classes))
        contenders = [Contender(name=name, prepare=way, arguments=(task,)) for name, way in lineup.items()]
        with progress(what) as tell:
            timings = race(contenders, arguments.repeat, progress=tell)
        values = {name: way(task)() for name, way in lineup.items()}
    shape = " x ".join(map(str, subject.labels.shape))
    print_section(f"{what}: {subject.name}, {shape} voxels, {len(subject.classes)} classes", RECIPE)
    _print_timings(timings, values)
    _print_agreement(values)
    return timings


def _print_timings(timings: Mapping[str, Timing], values: Mapping[str, Values]) -> None:
    print_table(
        ["way", "metrics a class", "ms", "CPU ms", "peak MiB"],
        [
            [
                way,
                len(set(values[way][0]) - _COUNTS),
                f"{1e3 * timing.seconds:.1f}",
                f"{1e3 * timing.cpu_seconds:.1f}",
                f"{timing.peak_bytes / 2**20:.0f}",
            ]
            for way, timing in timings.items()
        ],
    )


def _print_agreement(values: Mapping[str, Values]) -> None:
    """A row a metric: dmapsvc's mean over the classes, and the others' largest distance from it."""
    others = [way for way in values if way != OURS]
    rows = []
    for metric in (name for name in values[OURS][0] if name not in _COUNTS):
        mean = np.mean([found[metric] for found in values[OURS]])
        rows.append([metric, f"{mean:.4f}", *(_largest(values, way, metric) for way in others)])
    print_section("Largest difference from dmapsvc of any class; distances in mm")
    print_table(["metric", "dmapsvc, mean", *others], rows)


def _largest(values: Mapping[str, Values], way: str, metric: str) -> str:
    pairs = zip(values[way], values[OURS], strict=True)
    apart = [abs(theirs[metric] - ours[metric]) for theirs, ours in pairs if metric in theirs]
    return f"{max(apart):.0e}" if apart else "-"


def _over(timings: Mapping[str, Timing], way: str, where: str = "") -> Ratio:
    ratio = timings[way].cpu_seconds / timings[OURS].cpu_seconds
    return Ratio(name=f"CPU time, {way} / {OURS}{where}", value=ratio)


if __name__ == "__main__":
    sys.exit(main())
