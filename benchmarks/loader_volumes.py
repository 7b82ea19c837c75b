"""The volumes that every loader is measured on, and what a patch of them must hold: the reference.

A volume is three plain arrays on disk, which no library under test has made. Who reads them, and in which
format, is not decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from demo import cases, phantom
from dmapsvc.errors import BadInput
from dmapsvc.maps import penalty_map
from dmapsvc.pipeline import CaseFile, find_cases
from dmapsvc.spec import MapSpec
from dmapsvc.volumes import read_image, read_labels

Box = tuple[int, int, int]
PARTS = ("image", "label", "phi")


class Patch(NamedTuple):
    """What a loader delivers of a box, (z, y, x): normalised image float32, class index int16, Φ float32."""

    image: NDArray[np.float32]
    label: NDArray[np.int16]
    phi: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A case: image in its file's own type, class index uint8 or uint16, Φ float32 of `spec`; all (z, y, x).

    They lie in `<folder>/<case>/{image,label,phi}.npy` and were made of the files of `source`. Class i is the
    i-th of `spec.labels`. The normalised image is (image - mean) / deviation, with the mean and standard
    deviation of all its voxels.
    """

    folder: Path
    source: CaseFile
    spec: MapSpec
    shape: Box
    mean: float
    deviation: float

    @property
    def case(self) -> str:
        """Its name."""
        return self.source.case

    def path(self, part: str) -> Path:
        """The file of `part`, one of PARTS."""
        return self.folder / self.case / f"{part}.npy"

    def open(self, part: str) -> NDArray[Any]:
        """`part` mapped into memory, read only."""
        array: NDArray[Any] = np.load(self.path(part), mmap_mode="r")
        return array

    def patch(self, corner: Sequence[int], sides: Box) -> Patch:
        """The reference for the box at `corner`, inside the volume."""
        box = tuple(slice(int(low), int(low) + side) for low, side in zip(corner, sides, strict=True))
        image, label, phi = (self.open(part)[box] for part in PARTS)
        return Patch(self.normalised(image), label.astype(np.int16), np.asarray(phi, np.float32))

    def normalised(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """Voxels of the image as a network wants them."""
        values: NDArray[np.float32] = np.subtract(image, np.float32(self.mean), dtype=np.float32)
        values /= np.float32(self.deviation)
        return values


def generated(folder: Path, count: int, shape: Box) -> list[CaseFile]:
    """`count` generated knees with images below `folder`, written unless they lie there."""
    folder.mkdir(parents=True, exist_ok=True)
    knees = []
    for seed in range(count):
        case = CaseFile(
            case=f"knee{seed}", mask=folder / f"knee{seed}.nii", image=folder / f"knee{seed}_image.nii"
        )
        assert case.image is not None
        if not case.image.exists():
            labels, affine = phantom.knee(seed, shape)
            phantom.write(case.mask, labels, affine)
            phantom.write(case.image, phantom.render(labels, seed), affine)
        knees.append(case)
    return knees


def given(masks: str, images: Path | None, folder: Path, count: int) -> list[CaseFile]:
    """The first `count` label files of the folder or pattern `masks`, with their images in `images`.

    A case without one gets an image drawn from its labels, below `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = find_cases(Path(masks), images) if images else cases.given(masks)
    return [case if case.image else next(cases.rendered([case], folder)) for case in found[:count]]


def all_labels(files: Sequence[CaseFile]) -> tuple[int, ...]:
    """Every non-zero value of the masks, sorted; raises BadInput if there is none."""
    found = set().union(*(np.unique(read_labels(case.mask).array).tolist() for case in files)) - {0}
    if not found:
        raise BadInput("the masks have no label", "a class besides the background is wanted", "Give others")
    return tuple(sorted(found))


def write_volume(source: CaseFile, spec: MapSpec, folder: Path) -> Volume:
    """Write the arrays of a case with an image below `folder`; `spec` names its labels.

    Raises what reading them raises, and BadInput for an image of another shape.
    """
    assert source.image is not None
    assert spec.labels is not None
    labels, image = read_labels(source.mask), read_image(source.image)
    if image.array.shape != labels.array.shape:
        raise BadInput(
            f"{source.image}: its shape is {image.array.shape}",
            f"an image of one channel on the mask's grid, {labels.array.shape}",
            "Give others",
        )
    (folder / source.case).mkdir(parents=True, exist_ok=True)
    volume = Volume(
        folder=folder,
        source=source,
        spec=spec,
        shape=(labels.array.shape[0], labels.array.shape[1], labels.array.shape[2]),
        mean=float(image.array.mean(dtype=np.float64)),
        deviation=float(image.array.std(dtype=np.float64)),
    )
    np.save(volume.path("image"), image.array)
    np.save(volume.path("label"), _class_index(labels.array, spec.labels))
    np.save(volume.path("phi"), penalty_map(labels.array, labels.header.spacing, spec).values)
    return volume


def _class_index(labels: NDArray[Any], classes: tuple[int, ...]) -> NDArray[Any]:
    table = np.zeros(int(labels.max()) + 1, np.uint8 if len(classes) < 256 else np.uint16)
    for index, value in enumerate(classes, start=1):
        if value < len(table):
            table[value] = index
    return table.take(labels)
