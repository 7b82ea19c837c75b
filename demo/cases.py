"""The demo's input: knees that it generates, or label files that were given, with images drawn from them."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from demo import phantom
from dmapsvc.errors import NotFound
from dmapsvc.pipeline import CaseFile, find_cases
from dmapsvc.volumes import read_labels

KNEES = 5  # four to train on, one to test
KNEE_SHAPE = (80, 160, 160)  # smaller than a scan, so that the demo takes a minute on two cores


def generated(folder: Path) -> Iterator[CaseFile]:
    """Write KNEES generated label maps and their images below `folder`, one after the other."""
    for seed in range(1, KNEES + 1):
        labels, affine = phantom.knee(seed, KNEE_SHAPE)
        case = CaseFile(case=f"knee{seed}", mask=folder / f"knee{seed}.nii.gz")
        phantom.write(case.mask, labels, affine)
        yield _rendered(case, folder, seed)


def given(data: str) -> list[CaseFile]:
    """The label files of a folder, or of a pattern such as 'masks/knee_*'; raises NotFound."""
    if Path(data).is_dir():
        return find_cases(Path(data))
    files = [Path(name) for name in sorted(glob.glob(data))]
    if not files:
        raise NotFound(f"{data}: no such file", "wanted a folder or a pattern of label files")
    return find_cases(files)


def rendered(cases: Sequence[CaseFile], folder: Path) -> Iterator[CaseFile]:
    """The same cases with images drawn from their labels below `folder`, one after the other."""
    for seed, case in enumerate(cases):
        yield _rendered(case, folder, seed)


def _rendered(case: CaseFile, folder: Path, seed: int) -> CaseFile:
    volume = read_labels(case.mask)
    image = folder / f"{case.case}_image.nii"
    affine = volume.header.affine if volume.header.affine is not None else np.eye(4)
    phantom.write(image, phantom.render(volume.array, seed), affine)
    return replace(case, image=image)
