"""Random patches of image, label and Φ, as a network takes them: nnU-Net's loader, others', and dmapsvc's.

    python -m benchmarks.loader [--masks FOLDER [--images FOLDER]] [--labels 5,6,7] [--only NAMES]

Without --masks six generated knees are measured. Every loader has the same volumes in its own format, and a
process of its own on the same cores. docs/benchmarks.md explains every number.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks import loader_lineup, loader_standings
from benchmarks.loader_feed import Feed
from benchmarks.loader_formats import VOLUMES
from benchmarks.loader_measured import measure_all
from benchmarks.loader_race import Plan
from benchmarks.loader_volumes import Volume, all_labels, generated, given, write_volume
from benchmarks.machine import cores
from benchmarks.report import print_ratios, print_section, progress, setting, write_json
from benchmarks.timing import Progress
from dmapsvc.errors import BadInput, DmapsvcError
from dmapsvc.spec import MapSpec

PACKAGES = (
    *("numpy", "torch", "numba", "zarr", "numcodecs"),
    *("nnunetv2", "batchgenerators", "batchgeneratorsv2", "blosc2", "monai", "torchio"),
)


def main() -> int:
    """Run the benchmark on the command line's arguments; the exit code."""
    arguments = _arguments()
    try:
        ways = loader_lineup.chosen(arguments.only)
        report = setting(PACKAGES)
        with _workplace(arguments.work) as folder, progress("bench-loader") as tell:
            feed = Feed(
                folder=folder,
                volumes=_volumes(folder, arguments, tell),
                patch=arguments.patch,
                batch=arguments.batch,
                workers=arguments.cores,
            )
            plan = Plan(seconds=arguments.seconds, cores=arguments.cores)
            standings, remote = measure_all(ways, feed, plan, arguments.rounds, tell)
    except DmapsvcError as error:
        print(f"error: {error.detail}", file=sys.stderr)
        return 2
    except RuntimeError as error:  # a loader failed, or delivers something else
        print(f"error: {error}", file=sys.stderr)
        return 1
    loader_standings.print_agreements(standings)
    loader_standings.print_standings(standings)
    if remote is not None:
        loader_standings.print_remote(remote)
    ratios = loader_standings.ratios(standings, remote)
    print_section("Ratios of this run", loader_standings.TARGETS_ARE_FOR)
    print_ratios(ratios)
    report |= {"shapes": [volume.shape for volume in feed.volumes], "patch": feed.patch, "batch": feed.batch}
    report |= {"cores": plan.cores, "loaders": [standing.to_json() for standing in standings]}
    report |= {"remote": None if remote is None else asdict(remote)}
    write_json(arguments.json, report | {"ratios": [ratio.to_json() for ratio in ratios]})
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.loader",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    add = parser.add_argument
    add("--masks", help="folder or pattern of label files; left out: generated knees")
    add("--images", type=Path, help="folder of their images; a case without one gets one that is drawn")
    add("--labels", help="values that are classes, like 5,6,7; left out: every non-zero value")
    add("--cases", type=int, default=6, help="how many, at most (default: %(default)s)")
    add("--shape", type=_box, default=(160, 384, 384), help="of generated knees, like 160,384,384")
    add("--patch", type=_box, default=(96, 96, 96), help="voxels, like 96,96,96 (the default)")
    add("--batch", type=int, default=2, help="patches (default: %(default)s)")
    add(
        "--cores", type=int, default=min(2, cores()), help="and workers of each loader (default: %(default)s)"
    )
    add("--seconds", type=float, default=4.0, help="that each run counts (default: %(default)s)")
    add("--rounds", type=int, default=2, help="the fastest run counts (default: %(default)s)")
    add("--only", help="contenders by patterns of names, like 'dmapsvc*,nnU-Net*'; left out: all")
    add("--work", type=Path, help="folder for the volumes; it is kept, and what lies in it is used again")
    add("--json", type=Path, help="write the numbers to this file too")
    return parser.parse_args()


def _box(text: str) -> tuple[int, int, int]:
    z, y, x = (int(part) for part in text.split(","))
    return z, y, x


@contextmanager
def _workplace(given: Path | None) -> Iterator[Path]:
    """The folder `given`, made if need be, or else one that lasts as long as the block."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given.resolve()
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)


def _volumes(folder: Path, arguments: argparse.Namespace, tell: Progress) -> tuple[Volume, ...]:
    """The volumes, written below `folder`; raises what reading them raises, and BadInput for a patch too
    large.
    """
    tell(0, 1, "making the volumes")
    if arguments.masks:
        cases = given(arguments.masks, arguments.images, folder / "files", arguments.cases)
    else:
        cases = generated(folder / "files", arguments.cases, arguments.shape)
    spec = MapSpec.parse(arguments.labels)
    if spec.labels is None:
        spec = replace(spec, labels=all_labels(cases))
    volumes = tuple(write_volume(case, spec, folder / VOLUMES) for case in cases)
    for volume in volumes:
        if any(side > length for side, length in zip(arguments.patch, volume.shape, strict=True)):
            raise BadInput(
                f"{volume.case} has {volume.shape} voxels",
                f"a patch has {arguments.patch}",
                "Take larger volumes, or give another --patch",
            )
    return volumes


if __name__ == "__main__":
    sys.exit(main())
