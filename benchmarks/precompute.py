"""A folder of masks becomes maps on disk: the script people write, the same in a pool of two, and dmapsvc.

    python -m benchmarks.precompute [--cases 24] [--data FOLDER] [--labels 5,6,7] [--json FILE]

The masks are made of the files knee… of FOLDER, or else of generated knees; maps are in mm. Each way is a
command, run as a user would. The script and the pool make a few of the cases only, and what all would take is
reckoned from those. docs/benchmarks.md explains every number.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks import cases, usual_script
from benchmarks.batch import Batch, overlaps, print_batches, print_stages, rates
from benchmarks.cases import Masks
from benchmarks.machine import cores
from benchmarks.processes import run
from benchmarks.report import print_ratios, print_section, progress, setting, write_json
from benchmarks.stages import Alone, alone
from benchmarks.timing import Progress
from dmapsvc.errors import DmapsvcError
from dmapsvc.spec import MapSpec

PACKAGES = ("numpy", "scipy", "numba", "zarr", "numcodecs", "nibabel", "isal")
SCRIPT, POOL, OURS = "script, one process", "script, pool of two", "dmapsvc precompute"
_MADE = {SCRIPT: 2, POOL: 4}  # cases, at most: one takes half a minute


def main() -> int:
    """Run the benchmark on the command line's arguments; the exit code."""
    arguments = _arguments()
    try:
        knees = cases.find_knees(arguments.data) if arguments.data else []
        spec = MapSpec.parse(arguments.labels, "mm")
    except DmapsvcError as error:
        print(f"error: {error.detail}", file=sys.stderr)
        return 2
    report = setting(PACKAGES)
    with tempfile.TemporaryDirectory() as folder, progress("bench-precompute") as tell:
        try:
            masks, batches, stages = _measure(Path(folder), knees, spec, arguments, tell)
        except RuntimeError as error:  # a command failed, and says why
            print(f"error: {error}", file=sys.stderr)
            return 1
    script, pool, ours = batches
    print_section("The cases", cases.RECIPE)
    print_batches(batches, masks)
    print_stages(stages, ours.usage, cores())
    ratios = [*rates([(script, 30), (pool, 15)], ours, masks), *overlaps(stages, ours)]
    print_section(
        "Ratios of this run", "Targets are for 24 cases of three real knees, 3 labels, on two cores."
    )
    print_ratios(ratios)
    report |= {"recipe": cases.RECIPE, "cases": masks.count, "voxels": masks.total, "spec": spec.to_json()}
    report |= {"ways": [each.to_json(masks) for each in batches], "stages_alone": asdict(stages)}
    write_json(arguments.json, report | {"ratios": [ratio.to_json() for ratio in ratios]})
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.precompute",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--cases", type=int, default=24, help="how many masks (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="folder with files knee…; left out: generated knees")
    parser.add_argument(
        "--labels", help="values that are classes, like 5,6,7; left out: every non-zero value"
    )
    parser.add_argument(
        "--repeat", type=int, default=2, help="runs of dmapsvc; the fastest is shown (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    return parser.parse_args()


def _measure(
    folder: Path, knees: list[Path], spec: MapSpec, arguments: argparse.Namespace, tell: Progress
) -> tuple[Masks, list[Batch], Alone]:
    """All that takes time; `folder` is where it happens."""
    steps = 4 + 2 * arguments.repeat
    tell(0, steps, "writing the masks")
    masks = cases.write_cases(knees, folder / "masks", arguments.cases)
    batches = []
    for step, (way, processes) in enumerate(((SCRIPT, 1), (POOL, 2)), start=1):
        tell(step, steps, way)
        batches.append(_script(way, processes, masks.first(min(_MADE[way], masks.count)), spec))
    tell(3, steps, "compiling")
    run(_command(masks.first(1), spec, folder / "compiling.zarr"))
    runs, stages = [], []
    for turn in range(arguments.repeat):
        tell(4 + 2 * turn, steps, OURS)
        runs.append(_ours(masks, spec, folder / "run.zarr"))
        tell(5 + 2 * turn, steps, "the stages alone")
        stages.append(alone(masks.folder, folder / "alone.zarr", spec))
        shutil.rmtree(folder / "alone.zarr")
    batches.append(min(runs, key=lambda run: run.usage.seconds))
    return masks, batches, min(stages, key=lambda each: each.seconds[each.busiest])


def _script(way: str, processes: int, masks: Masks, spec: MapSpec) -> Batch:
    script = [sys.executable, str(Path(usual_script.__file__)), f"--processes={processes}", *_labels(spec)]
    out, empty = masks.folder.with_name(f"{masks.folder.name}-out"), masks.first(0)
    start = run([*script, str(empty.folder), str(out / "empty")]).seconds
    usage = run([*script, str(masks.folder), str(out / "maps")])
    return Batch(way=way, made=masks, usage=usage, disk_bytes=_size(out), start=start)


def _ours(masks: Masks, spec: MapSpec, out: Path) -> Batch:
    usage = run(_command(masks, spec, out))
    start = run(_command(masks, spec, out)).seconds  # all is there already
    batch = Batch(way=OURS, made=masks, usage=usage, disk_bytes=_size(out), start=start)
    shutil.rmtree(out)
    return batch


def _command(masks: Masks, spec: MapSpec, out: Path) -> list[str]:
    command = [sys.executable, "-m", "dmapsvc", "precompute", str(masks.folder), str(out)]
    return [*command, f"--units={spec.units}", *_labels(spec)]


def _labels(spec: MapSpec) -> list[str]:
    return [] if spec.labels is None else [f"--labels={','.join(map(str, spec.labels))}"]


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


if __name__ == "__main__":
    sys.exit(main())
