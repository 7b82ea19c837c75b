"""The benchmark's subjects: knees that no two share, or deformed from label files, with images and a dataset.

    python -m benchmarks.knees.subjects -o FOLDER [--masks 'FILES'] [--labels 5,6,7] [--shape 48,96,96]

writes FOLDER/{masks,images}/<subject>.nii.gz, FOLDER/knees.zarr with their maps, FOLDER/split.json, and
FOLDER/subjects.json, which says of which anatomy each subject is made. All of it follows from the subjects'
numbers; a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.knees.anatomy import NAMES, Anatomy, from_file, generated
from benchmarks.knees.grid import Shape, spacing
from benchmarks.knees.knee import SEED, make
from benchmarks.knees.lineup import SIZES, SUBJECTS, Subject, lineup, shares_anatomies
from benchmarks.machine import cores
from demo import phantom
from demo.cases import given
from dmapsvc.cli.output import Meter
from dmapsvc.errors import BadInput, Conflict, DmapsvcError
from dmapsvc.pipeline import precompute
from dmapsvc.spec import MapSpec
from dmapsvc.train.split import Split
from dmapsvc.whole import write_json

SHAPE: Shape = (48, 96, 96)
JOBS = cores()
STORE, SPLIT, TOLD = "knees.zarr", "split.json", "subjects.json"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What subjects are made of: label files of anatomies (none: generated ones), and the grid.

    `labels`: of femur, tibia and patella in the files. Raises BadInput unless they are three.
    """

    masks: tuple[Path, ...] = ()
    labels: tuple[int, ...] = tuple(NAMES)
    shape: Shape = SHAPE

    def __post_init__(self) -> None:
        if len(self.labels) != len(NAMES):
            raise BadInput(f"{len(self.labels)} labels", "wanted three: of femur, tibia and patella")

    @classmethod
    def parse(cls, masks: str | None, labels: str | None, shape: str | None) -> Recipe:
        """As a command line has it: a folder or pattern, '5,6,7', '48,96,96'.

        Raises NotFound for files that are not there, BadInput for what are not three numbers.
        """
        z, y, x = SHAPE if shape is None else _three(shape, "shape")
        return cls(
            masks=tuple(case.mask for case in given(masks)) if masks else (),
            labels=tuple(NAMES) if labels is None else _three(labels, "labels"),
            shape=(z, y, x),
        )

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """All of them, by number."""
        return lineup(len(self.masks) or SUBJECTS)

    def anatomy(self, subject: Subject) -> Anatomy:
        """The anatomy of a subject; raises what `anatomy.from_file` raises."""
        if self.masks:
            return from_file(self.masks[subject.anatomy], self.labels, self.shape)
        return generated(subject.anatomy, self.shape)

    def to_json(self) -> dict[str, Any]:
        """For subjects.json: names of files, not where they lie."""
        names = [mask.name for mask in self.masks] or [f"generated {seed}" for seed in range(SUBJECTS)]
        return {
            "shape": list(self.shape),
            "spacing": list(spacing(self.shape)),
            "seed": SEED,
            "anatomies": {subject.name: names[subject.anatomy] for subject in self.subjects},
            "shares_anatomies": shares_anatomies(self.subjects),
        }


def write(recipe: Recipe, folder: Path, jobs: int) -> None:
    """Write all that the module's docstring lists below `folder`, with so many processes.

    Raises Conflict if the folder holds subjects of another recipe, and what reading the masks raises.
    """
    for part in ("masks", "images"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    _keep(recipe.to_json(), folder / TOLD)
    subjects = recipe.subjects
    with Meter("subjects", len(subjects), "subjects") as meter:
        for done, name in enumerate(_written(recipe, subjects, folder, jobs), start=1):
            meter.show(done, name)
    summary = precompute(
        folder / "masks",
        folder / STORE,
        spec=MapSpec(labels=tuple(NAMES)),
        names=NAMES,
        images=folder / "images",
    )
    if summary.failed:
        raise BadInput(summary.failed[0].problem.detail)
    sides = {side: tuple(one.name for one in subjects if one.side == side) for side in SIZES}
    Split(**sides).write(folder / SPLIT)


def _keep(told: dict[str, Any], path: Path) -> None:
    if not path.exists():
        write_json(path, told)
    elif json.loads(path.read_text()) != told:
        raise Conflict(f"{path} tells of other subjects", "a folder holds one set", "Name another folder")


def _written(recipe: Recipe, subjects: Sequence[Subject], folder: Path, jobs: int) -> Iterator[str]:
    """The names of the subjects, each as soon as its files are there."""
    if jobs == 1:
        yield from (_write(recipe, subject, folder) for subject in subjects)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        yield from pool.map(_write, repeat(recipe), subjects, repeat(folder))


def _write(recipe: Recipe, subject: Subject, folder: Path) -> str:
    """Write the mask and image of a subject unless they are there; its name."""
    name = f"{subject.name}.nii.gz"
    image, mask = folder / "images" / name, folder / "masks" / name
    if not (image.exists() and mask.exists()):
        knee = make(recipe.anatomy(subject), subject.number)
        _write_whole(image, knee.image, knee.affine)
        _write_whole(mask, knee.labels, knee.affine)
    return subject.name


def _write_whole(path: Path, array: NDArray[Any], affine: NDArray[np.float64]) -> None:
    part = path.with_name(f".{path.name}")  # hidden: no run takes half a file for a mask
    phantom.write(part, array, affine)
    part.replace(path)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that say what subjects are made of, and with how many processes."""
    parser.add_argument("--masks", help="folder or pattern of label files; left out: generated anatomies")
    parser.add_argument("--labels", help="of femur, tibia, patella in them (default: 1,2,3)")
    parser.add_argument("--shape", help="voxels along z, y, x (default: 48,96,96)")
    parser.add_argument("--jobs", type=_at_least_one, help="processes at once (default: all cores)")


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r}: wanted at least 1")
    return int(text)


def _three(text: str, what: str) -> tuple[int, ...]:
    numbers = text.split(",")
    if len(numbers) != 3 or not all(number.isdecimal() and int(number) for number in numbers):
        raise BadInput(f"{what} {text!r}", "wanted three whole numbers above 0", "Write them like 48,96,96")
    return tuple(map(int, numbers))


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the subjects as the command line says; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.knees.subjects",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="the folder")
    add_options(parser)
    parsed = parser.parse_args(arguments)
    try:
        write(Recipe.parse(parsed.masks, parsed.labels, parsed.shape), parsed.out, parsed.jobs or JOBS)
    except DmapsvcError as error:
        print(f"error: {error.detail}", file=sys.stderr)
        return 2
    print(f"{parsed.out}: {SUBJECTS} subjects, {', '.join(f'{n} {side}' for side, n in SIZES.items())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
