"""Φ on a GPU: where the time goes, against the floor of its memory; and by cuCIM, as people call it.

    python -m benchmarks.gpu [MASK] [--labels 5,6,7] [--repeat 20] [--side 512] [--json FILE]

Without MASK a generated knee is measured. Exit code 2 where there is no GPU.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.passes import ON_THE_BUS, Pass, bandwidth, cucim_calls, fused_passes
from benchmarks.report import Ratio, print_ratios, print_section, setting, write_json
from benchmarks.subject import Subject
from demo import phantom
from dmapsvc.cli.output import print_table
from dmapsvc.errors import DmapsvcError
from dmapsvc.maps import quantised_map
from dmapsvc.maps.backends import load_backend
from dmapsvc.maps.cards import require_card
from dmapsvc.spec import MapSpec
from dmapsvc.volumes import read_labels

PACKAGES = ("numpy", "cupy-cuda12x", "cupy-cuda13x", "cucim-cu12", "cucim-cu13")
TARGETS_ARE_FOR = "Targets are for knee_dess_bones_cartilage.nrrd, labels 5,6,7, on an H100."


def main() -> int:
    """Run the benchmark on the command line's arguments; the exit code."""
    arguments = _arguments()
    try:
        require_card()
        knee = _knee(arguments)
    except DmapsvcError as error:
        print(f"error: {error.detail}", file=sys.stderr)
        return 2
    report = setting(PACKAGES) | {"card": _card()}
    speed = bandwidth(arguments.repeat)
    print_section(f"{report['card']}: memory moves {speed / 1e9:.0f} GB/s (a block copied onto another)")
    subjects = [knee, _cube(arguments.side)]
    report |= {
        "bandwidth": speed,
        "subjects": [_measure(subject, arguments.repeat, speed) for subject in subjects],
    }
    ratios = _ratios(report["subjects"][0])
    print_section("Ratios of this run", TARGETS_ARE_FOR)
    print_ratios(ratios)
    write_json(arguments.json, report | {"ratios": [ratio.to_json() for ratio in ratios]})
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("mask", nargs="?", type=Path, help="a label file; left out: a generated knee")
    parser.add_argument(
        "--labels", help="values that are classes, like 5,6,7; left out: every non-zero value"
    )
    parser.add_argument(
        "--repeat", type=int, default=20, help="rounds; medians are shown (default: %(default)s)"
    )
    parser.add_argument("--side", type=int, default=512, help="of a generated cube (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    return parser.parse_args()


def _knee(arguments: argparse.Namespace) -> Subject:
    with tempfile.TemporaryDirectory() as folder:
        mask = arguments.mask
        if mask is None:
            mask = Path(folder) / "generated_knee.nii.gz"
            phantom.write(mask, *phantom.knee(0))
        volume = read_labels(mask)
    chosen = MapSpec.parse(arguments.labels).labels
    return Subject(
        name=mask.name,
        labels=volume.array,
        classes=chosen or tuple(value for value in np.unique(volume.array).tolist() if value),
        sampling=volume.header.spacing or (1.0, 1.0, 1.0),
    )


def _cube(side: int) -> Subject:
    labels, _ = phantom.knee(0, (side, side, side))
    return Subject(
        name=f"generated knee, {side}³", labels=labels, classes=(1, 2, 3), sampling=(1.0, 1.0, 1.0)
    )


def _card() -> str:
    import cupy

    return str(cupy.cuda.runtime.getDeviceProperties(0)["name"].decode())


def _measure(subject: Subject, rounds: int, speed: float) -> dict[str, Any]:
    """Everything about one label map, printed, and for the JSON file."""
    passes, calls = fused_passes(subject, rounds), cucim_calls(subject, max(3, rounds // 4))
    hosts = {name: _host_to_host(subject, name, max(3, rounds // 4)) for name in ("cuda", "cucim")}
    rates = {workers: _cases_per_second(subject, workers, rounds) for workers in (1, 2)}
    fused = sum(one.milliseconds for one in passes if one.name not in ON_THE_BUS)
    shape = " x ".join(map(str, subject.labels.shape))
    print_section(f"{subject.name}: {shape} voxels, {len(subject.classes)} classes; milliseconds")
    print_table(
        ["on the card", "ms", "floor ms", "times the floor"],
        [
            *(_row(one, speed) for one in passes),
            ["the fused pass", f"{fused:.3f}", "", ""],
            [calls.name, f"{calls.milliseconds:.3f}", "", ""],
        ],
    )
    print_section("Host to host: labels in, uint16 Φ out")
    print_table(
        ["way", "ms", "cases a second"],
        [
            *(
                [name, f"{1000 * seconds:.2f}", f"{1 / seconds:.1f}"] if seconds else [name, "-", "-"]
                for name, seconds in hosts.items()
            ),
            *([f"cuda, {workers} at once", "", f"{rate:.1f}"] for workers, rate in rates.items()),
        ],
    )
    return {
        "name": subject.name,
        "shape": subject.labels.shape,
        "classes": len(subject.classes),
        "passes": [vars(one) for one in passes],
        "fused_ms": fused,
        "cucim_calls_ms": calls.milliseconds,
        "host_to_host_seconds": hosts,
        "cases_per_second": rates,
    }


def _row(one: Pass, speed: float) -> Sequence[str]:
    if one.name in ON_THE_BUS:
        rate = one.bytes / one.milliseconds / 1e6
        return [one.name, f"{one.milliseconds:.3f}", "", f"{rate:.1f} GB/s"]
    floor = one.bytes / speed * 1000
    return [one.name, f"{one.milliseconds:.3f}", f"{floor:.3f}", f"{one.milliseconds / floor:.1f}"]


def _ratios(told: dict[str, Any]) -> list[Ratio]:
    hosts = told["host_to_host_seconds"]
    return [
        Ratio(name="fused pass, ms", value=told["fused_ms"], target=2.0, at_least=False),
        Ratio(
            name="K + 1 cuCIM calls over the fused pass, on the card",
            value=told["cucim_calls_ms"] / told["fused_ms"],
            target=8.0,
        ),
        Ratio(name="cucim backend over cuda, host to host", value=hosts["cucim"] / hosts["cuda"]),
        Ratio(
            name="two at once over one, cases a second",
            value=told["cases_per_second"][2] / told["cases_per_second"][1],
        ),
    ]


def _host_to_host(subject: Subject, backend: str, rounds: int) -> float | None:
    """The median of a backend's seconds; None where it does not take the volume."""
    map_it = _mapping(subject, backend)
    try:
        map_it()
    except DmapsvcError:
        return None
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        map_it()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _cases_per_second(subject: Subject, at_once: int, rounds: int) -> float:
    map_it = _mapping(subject, "cuda")
    map_it()
    start = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        for done in [pool.submit(map_it) for _ in range(rounds)]:
            done.result()
    return rounds / (time.perf_counter() - start)


def _mapping(subject: Subject, backend: str) -> Callable[[], object]:
    load_backend(backend)
    spec = MapSpec(labels=subject.classes, units="mm")
    return lambda: quantised_map(subject.labels, subject.sampling, spec, backend=backend)


if __name__ == "__main__":
    sys.exit(main())
