"""Cases as TorchIO subjects: `phi_subject` makes one, `MakePhi` makes Φ after all that moves voxels.

What is between them is TorchIO's own. Needs the extra `torchio`; nothing else of the loader does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from dmapsvc.errors import BadInput, DmapsvcError
from dmapsvc.loader.adaptors.remade import check_scale, remake_penalty
from dmapsvc.loader.adaptors.stretch import stretch
from dmapsvc.loader.adaptors.volume import CaseGrid, CaseVolume, frozen_classes
from dmapsvc.loader.classes import Classes
from dmapsvc.loader.source import CaseSource, open_source
from dmapsvc.region import Scale

try:
    import torchio as tio
except ModuleNotFoundError as error:
    if error.name != "torchio":
        raise
    raise DmapsvcError(
        "TorchIO is not installed", "subjects are for it", "Install it: pip install 'dmapsvc[torchio]'"
    ) from None

_Array = Literal["image", "label", "distance", "inside"]
_PATH = Path("/")  # TorchIO wants one that exists, and leaves the rest to the reader
_ELASTIC = ("ElasticDeformation", "AffineElasticDeformation")
_TO_LPS = np.diag((-1.0, -1.0, 1.0))  # SimpleITK's world, in which TorchIO's transforms are


def phi_subjects(location: str | Path, *, classes: Iterable[int] | None = None) -> list[tio.Subject]:
    """A subject for each case of the dataset at `location`, a folder or its URL, for `SubjectsDataset`.

    Nothing but records is read before TorchIO loads a subject. Each has

    - `image`: ScalarImage, float32 (C, i, j, k), as stored, not normalised; absent if the case has none;
    - `label`: LabelMap, class indices, int16 (1, i, j, k), or int32 for more than 32,767 classes;
    - `distance`: ScalarImage, D, float32 (1, i, j, k): the distance to the nearest voxel of another region;
    - `inside`: LabelMap of ones, uint8, which transforms pad with 0 and so tell where there is no voxel;
    - `case`, `classes`, and what `MakePhi` needs: `maxima`, `means` (float32 tensors by class) and `grid`.

    Axes are those of the file, the store's (z, y, x) transposed, with the file's affine to RAS+ mm. Spatial
    transforms must be given all images, which is their default. Intensity transforms must leave `distance`
    out: `exclude=["distance"]`, or `include=["image"]`.
    `classes`: a frozen list; the dataset's own if left out.

    Raises what `open_source` raises, NotFound for a dataset without labels, BadLabels for a case with a label
    outside `classes`; when loaded, Damaged.
    """
    source = open_source(location)
    frozen = frozen_classes(source, classes)
    return [_subject(source, case, frozen) for case in source.cases()]


def phi_subject(location: str | Path, case: str, *, classes: Iterable[int] | None = None) -> tio.Subject:
    """The subject of one case, as `phi_subjects` has it; raises NotFound if there is no such case."""
    source = open_source(location)
    return _subject(source, case, frozen_classes(source, classes))


class MakePhi(tio.Transform):
    """Make `phi` of the `label`, `distance` and `inside` of a subject, after all that moves voxels.

    `phi`: ScalarImage, float32 (1, i, j, k), Φ = M(label) − D in the `scale`, never interpolated itself.
    `label` becomes int64, and IGNORE_INDEX where there is padding; there Φ is 0. `distance`, `inside` and
    `grid` are dropped. `maxima` and `means` are zoomed as D is, by what the subject's history and affine say
    was done to it (`stretch`).

    Raises BadInput for an unknown scale; when called, if D is no distance any more after what was done to it
    (an elastic deformation, a zoom that differs by axis), or an intensity transform was let at it.
    """

    def __init__(self, scale: Scale = "region", **options: Any) -> None:
        super().__init__(**options)
        self.scale = check_scale(scale)
        self.args_names = ["scale"]

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        """As TorchIO defines it."""
        held: dict[str, Any] = subject
        missing = [key for key in ("label", "distance", "inside", "grid") if key not in held]
        if missing:
            raise BadInput(f"{missing[0]!r} is missing", "phi_subject adds it", "Keep it until MakePhi")
        label, distance = subject.get_label_map("label"), subject.get_scalar_image("distance")
        grid: CaseGrid = held["grid"]
        remade = remake_penalty(
            label=label.data,
            distance=distance.data,
            padded=subject.get_label_map("inside").data == 0,
            maxima=held["maxima"],
            means=held["means"],
            smallest=grid.smallest,
            stretch=stretch(grid.affine, distance.affine, grid.units, _moved(subject)),
            scale=self.scale,
        )
        label.set_data(remade.label)
        subject.add_image(tio.ScalarImage(tensor=remade.phi, affine=distance.affine), "phi")
        subject["maxima"], subject["means"] = remade.maxima, remade.means
        for key in ("distance", "inside", "grid"):
            subject.remove_image(key)
        subject.update_attributes()
        return subject


@dataclass(frozen=True)
class _Read:
    """TorchIO's reader of one array of a case."""

    source: CaseSource
    case: str
    classes: Classes
    array: _Array

    def __call__(self, path: object) -> tuple[torch.Tensor, NDArray[np.float64]]:
        """The array, (C, i, j, k), and its affine; `path` means nothing."""
        volume = CaseVolume(self.source, self.case, self.classes)
        values: NDArray[Any]
        match self.array:
            case "image":
                values = volume.image()
            case "label":
                values = volume.label()[None]
            case "distance":
                values = volume.distance()[None]
            case "inside":
                values = np.ones((1, *volume.record.shape[::-1]), np.uint8)
        return torch.from_numpy(values), volume.grid.affine

    def __deepcopy__(self, memo: object) -> _Read:
        return self  # TorchIO copies subjects at every turn; this never changes


def _subject(source: CaseSource, case: str, classes: Classes) -> tio.Subject:
    record = source.record(case)
    grid = CaseGrid(case, record, classes)

    def lazy(kind: type[tio.Image], array: _Array) -> tio.Image:
        return kind(_PATH, reader=_Read(source, case, classes, array))

    images = {} if record.image is None else {"image": lazy(tio.ScalarImage, "image")}
    return tio.Subject(
        case=case,
        classes=classes,
        **images,
        label=lazy(tio.LabelMap, "label"),
        distance=lazy(tio.ScalarImage, "distance"),
        inside=lazy(tio.LabelMap, "inside"),
        maxima=torch.from_numpy(grid.maxima),
        means=torch.from_numpy(grid.means),
        grid=grid,
    )


def _moved(subject: tio.Subject) -> NDArray[np.float64]:
    """From where D is now to where it was, in RAS: what transforms did that left the affine as it was."""
    moved = np.eye(3)
    for name, arguments in _applied_to_distance(subject):
        if name in _ELASTIC:
            raise BadInput(
                f"{name} was applied", "a distance map cannot follow it", "Turn, flip and zoom instead"
            )
        if name in _names_below(tio.IntensityTransform):
            raise BadInput(
                f"{name} changed 'distance'",
                "intensity transforms must leave it as it is",
                "Give it exclude=['distance'] or include=['image']",
            )
        if name == "Affine":
            moved = moved @ _linear(tio.Affine(**arguments), subject.get_scalar_image("distance"))
    return moved


def _applied_to_distance(subject: tio.Subject) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, arguments in subject.applied_transforms:
        options: dict[str, Any] = arguments
        included, excluded = options.get("include"), options.get("exclude")
        if (included is None or "distance" in included) and "distance" not in (excluded or ()):
            yield name, options


def _names_below(kind: type) -> set[str]:
    return {kind.__name__}.union(*map(_names_below, kind.__subclasses__()))


def _linear(affine: tio.Affine, image: tio.Image) -> NDArray[np.float64]:
    back = affine.get_affine_transform(image)
    origin = np.array(back.TransformPoint((0.0, 0.0, 0.0)))
    columns = [np.array(back.TransformPoint(unit)) - origin for unit in np.eye(3).tolist()]
    linear: NDArray[np.float64] = _TO_LPS @ np.stack(columns, axis=1) @ _TO_LPS
    return linear
