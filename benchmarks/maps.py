"""Φ of one mask: SciPy as people use it, SciPy on crops, and the fused numba pass, side by side.

    python -m benchmarks.maps [MASK] [--labels 5,6,7] [--units mm] [--threads 2] [--repeat 3] [--json FILE]

Without MASK a generated knee is measured. Labels go in, the finished map comes out; reading the file and
compiling are not counted. Each contender runs in a process of its own, in turn, `--repeat` times.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import ndimage

from benchmarks.timing import Contender, Timing, race
from demo import phantom
from dmapsvc.errors import DmapsvcError
from dmapsvc.maps import penalty_map
from dmapsvc.spec import MapSpec
from dmapsvc.volumes import Volume, read_header, read_labels

BASELINE = "SciPy, K + 1 full volumes"


def main() -> int:
    """Run the benchmark on the command line's arguments; the exit code."""
    arguments = _arguments()
    try:
        with tempfile.TemporaryDirectory() as folder:
            mask = arguments.mask or _generated_knee(Path(folder))
            _run(mask, arguments)
    except DmapsvcError as error:
        print(f"error: {error.detail}", file=sys.stderr)
        return 2
    return 0


def scipy_full(volume: Volume, spec: MapSpec) -> NDArray[np.float32]:
    """Φ as the data loaders of the field compute it: one transform of the whole volume a region."""
    labels = volume.array
    classes = spec.labels or tuple(value for value in np.unique(labels).tolist() if value)
    sampling = volume.header.spacing if spec.units == "mm" else None
    phi = np.zeros(labels.shape, np.float32)
    for member in (~np.isin(labels, classes), *(labels == value for value in classes)):
        distances = ndimage.distance_transform_edt(member, sampling=sampling)
        phi[member] = (distances.max() - distances)[member]
    return phi


def _arguments() -> argparse.Namespace:
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.maps", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("mask", nargs="?", type=Path, help="a label file; left out: a generated knee")
    parser.add_argument(
        "--labels", help="values that are classes, like 5,6,7; left out: every non-zero value"
    )
    parser.add_argument("--units", default="mm", choices=["voxel", "mm"])
    parser.add_argument(
        "--threads", type=int, default=cores, help=f"of the numba backend; {cores} if left out"
    )
    parser.add_argument(
        "--repeat", type=int, default=3, help="rounds; the fastest of each contender is shown"
    )
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    return parser.parse_args()


def _generated_knee(folder: Path) -> Path:
    labels, affine = phantom.knee(0)
    path = folder / "generated_knee.nii.gz"
    phantom.write(path, labels, affine)
    return path


def _run(mask: Path, arguments: argparse.Namespace) -> None:
    header = read_header(mask)
    spec = MapSpec.parse(arguments.labels, arguments.units)
    console = Console()
    with console.status("") as status:
        timings = race(_contenders(mask, spec, arguments.threads), arguments.repeat, status.update)
    console.print(_table(f"{mask.name}, {' x '.join(map(str, header.shape))} voxels", header.voxels, timings))
    if arguments.json is not None:
        report = {"mask": mask.name, "shape": header.shape, "spec": spec.to_json()}
        times = {name: asdict(timing) for name, timing in timings.items()}
        arguments.json.write_text(json.dumps({**report, "contenders": times}, indent=2) + "\n")


def _contenders(mask: Path, spec: MapSpec, threads: int) -> list[Contender]:
    counts = sorted({1, threads})
    return [
        Contender(name=BASELINE, prepare=_prepare_scipy_full, arguments=(mask, spec)),
        Contender(name="dmapsvc, scipy", prepare=_prepare_backend, arguments=(mask, spec, "scipy", 1)),
        *(
            Contender(
                name=f"dmapsvc, numba, {count} thread{'s' if count > 1 else ''}",
                prepare=_prepare_backend,
                arguments=(mask, spec, "numba", count),
            )
            for count in counts
        ),
    ]


def _prepare_scipy_full(mask: Path, spec: MapSpec) -> Callable[[], object]:
    volume = read_labels(mask)
    return lambda: scipy_full(volume, spec)


def _prepare_backend(mask: Path, spec: MapSpec, backend: str, threads: int) -> Callable[[], object]:
    volume = read_labels(mask)

    def work() -> object:
        return penalty_map(volume.array, volume.header.spacing, spec, backend=backend, threads=threads)

    work()  # compiles, or loads what was compiled before
    return work


def _table(title: str, voxels: int, timings: dict[str, Timing]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    for column in ("seconds", "CPU s", "peak MiB", "B/voxel", "times faster"):
        table.add_column(column, justify="right")
    for name, timing in timings.items():
        table.add_row(
            name,
            f"{timing.seconds:.3f}",
            f"{timing.cpu_seconds:.3f}",
            f"{timing.peak_bytes / 2**20:.0f}",
            f"{timing.peak_bytes / voxels:.1f}",
            f"{timings[BASELINE].seconds / timing.seconds:.1f}",
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
