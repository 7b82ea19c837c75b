"""What the service adds: one mask from upload to published, beside the same work without a service.

    python -m benchmarks.service [MASK] [--labels 5,6,7] [--units mm] [--repeat 3]

Without MASK a generated knee is measured. Every way does the whole case, in turn, `--repeat` times; the
fastest run of each is shown, and its ratio to the bare computation (read and map, nothing stored).
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from demo import phantom
from demo.service import Service
from dmapsvc.cli.output import print_table
from dmapsvc.client import Client
from dmapsvc.jobs import State
from dmapsvc.maps import penalty_map
from dmapsvc.pipeline import run_case
from dmapsvc.spec import MapSpec
from dmapsvc.store import Dataset
from dmapsvc.volumes import read_labels

Way = Callable[[], None]


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        mask = arguments.mask or _knee(Path(folder))
        spec = MapSpec.parse(arguments.labels, arguments.units)
        with _ways(mask, spec, Path(folder)) as ways:
            seconds = _fastest(ways, arguments.repeat)
    bare = seconds[next(iter(seconds))]
    print(f"{mask.name}, labels {arguments.labels or 'all'}, {arguments.units}, best of {arguments.repeat}")
    print_table(
        ["way", "seconds", "ratio to bare"],
        [[way, f"{s:.2f}", f"{s / bare:.2f}"] for way, s in seconds.items()],
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(seconds, indent=2))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service", description=__doc__)
    parser.add_argument("mask", nargs="?", type=Path, help="a label file; left out: a generated knee")
    parser.add_argument(
        "--labels", help="values that are classes, like 5,6,7; left out: every non-zero value"
    )
    parser.add_argument("--units", default="mm", help="voxel or mm (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each way (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the seconds to this file too")
    return parser.parse_args()


def _knee(folder: Path) -> Path:
    path = folder / "knee.nii.gz"
    phantom.write(path, *phantom.knee(seed=1))
    return path


@contextmanager
def _ways(mask: Path, spec: MapSpec, folder: Path) -> Iterator[dict[str, Way]]:
    """Each way of doing one case; the service runs as long as the block."""
    numbers = itertools.count()
    local = Dataset.create(folder / "local.zarr", spec)

    def bare() -> None:
        volume = read_labels(mask)
        penalty_map(volume.array, volume.header.spacing, spec)

    def pipeline() -> None:
        run_case(mask, local, f"case{next(numbers)}")

    with Service(folder / "data") as running, Client(running.url) as client:
        client.create_dataset("bench", spec)

        def service() -> None:
            job = client.put_mask("bench", f"case{next(numbers)}", mask)
            ended = client.wait(job.id)
            if ended.state is not State.DONE:
                raise RuntimeError(f"the job ended {ended.state}: {ended.problem}")

        yield {
            "bare: read and map": bare,
            "precompute: read, map, publish": pipeline,
            "service: upload until published": service,
        }


def _fastest(ways: dict[str, Way], repeat: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()  # compiled, cached and warm, as a service is
    for _ in range(repeat):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    return {name: min(runs) for name, runs in seconds.items()}


if __name__ == "__main__":
    main()
