"""Cases as TorchIO subjects: `phi_subject` makes one, `MakePhi` makes Φ after all that moves voxels.

What is between them is TorchIO's own. Needs the extra `torchio`; nothing else of the loader does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from dmapsvc.errors import BadInput, DmapsvcError
from dmapsvc.loader.adaptors.remade import remake_penalty
from dmapsvc.loader.adaptors.volume import CaseGrid, CaseVolume, frozen_classes
from dmapsvc.loader.classes import Classes
from dmapsvc.loader.source import CaseSource, open_source
from dmapsvc.region import Scale, check_scale

try:
    import torchio as tio

    from dmapsvc.loader.adaptors.watched import WatchedSubject
except ModuleNotFoundError as error:
    if error.name != "torchio":
        raise
    raise DmapsvcError(
        "TorchIO is not installed", "subjects are for it", "Install it: pip install 'dmapsvc[torchio]'"
    ) from None

_Array = Literal["image", "label", "distance", "inside"]
_PATH = Path("/")  # TorchIO wants one that exists, and leaves the rest to the reader


def phi_subjects(location: str | Path, *, classes: Iterable[int] | None = None) -> list[tio.Subject]:
    """A subject for each case of the dataset at `location`, a folder or its URL, for `SubjectsDataset`.

    Nothing but records is read before TorchIO loads a subject. Each has

    - `image`: ScalarImage, float32 (C, i, j, k), as stored, not normalised; absent if the case has none;
    - `label`: LabelMap, class indices, int16 (1, i, j, k), or int32 for more than 32,767 classes;
    - `distance`: ScalarImage, float32 (2, i, j, k): D, the distance to the nearest voxel of another region,
      and ones, which go where D goes and so tell where padding was mixed into it;
    - `inside`: LabelMap of ones, int16, which transforms pad with another value;
    - `case`, `classes`, and for `MakePhi` `maxima` and `means`, float32 tensors by class.

    Axes are those of the file, the store's (z, y, x) transposed, with the file's affine to RAS+ mm. Spatial
    transforms must be given all images, which is their default, other transforms none of `distance`, `label`
    and `inside`: `include=["image"]`. A transform of TorchIO itself that breaks this raises BadInput
    (`WatchedSubject`).
    `classes`: a frozen list; the dataset's own if left out.

    Raises what `open_source` raises, NotFound for a dataset without labels, BadInput for `classes` without 0
    first or with a value twice, BadLabels for a case with a label outside them; when loaded, Damaged.
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
    `label` becomes int64, and IGNORE_INDEX where there is padding, or D is interpolated with it, however many
    transforms ago; there Φ is 0. `distance` and `inside` are dropped. `maxima` and `means` are zoomed
    as D is, by what the transforms and the affine say was done to it (`stretch`).

    Raises BadInput for an unknown scale; when called, for a subject that `phi_subject` did not make, after a
    zoom that differs by axis, or if the values of D were changed.
    """

    def __init__(self, scale: Scale = "region", **options: Any) -> None:
        super().__init__(**options)
        self.scale = check_scale(scale)
        self.args_names = ["scale"]

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        """As TorchIO defines it."""
        held: dict[str, Any] = subject
        if not isinstance(subject, WatchedSubject):
            raise BadInput(
                f"a {type(subject).__name__}",
                "wanted what phi_subject made, which knows what was done to its distances",
                "Add images of your own to that, with its add_image",
            )
        missing = [key for key in ("label", "distance", "inside") if key not in held]
        if missing:
            raise BadInput(f"{missing[0]!r} is missing", "phi_subject adds it", "Keep it until MakePhi")
        label, distance = subject.get_label_map("label"), subject.get_scalar_image("distance")
        remade = remake_penalty(
            label=label.data,
            distance=distance.data,
            maxima=held["maxima"],
            means=held["means"],
            smallest=subject.case_grid.smallest,
            stretch=subject.stretched(),
            scale=self.scale,
        )
        label.set_data(remade.label)
        subject.add_image(tio.ScalarImage(tensor=remade.phi, affine=distance.affine), "phi")
        subject["maxima"], subject["means"] = remade.maxima, remade.means
        for key in ("distance", "inside"):
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
                values = volume.distance()
            case "inside":
                values = np.ones((1, *volume.record.shape[::-1]), np.int16)
        return torch.from_numpy(values), volume.grid.affine

    def __deepcopy__(self, memo: object) -> _Read:
        return self  # TorchIO copies subjects at every turn; this never changes


def _subject(source: CaseSource, case: str, classes: Classes) -> tio.Subject:
    record = source.record(case)
    grid = CaseGrid(case, record, classes)

    def lazy(kind: type[tio.Image], array: _Array) -> tio.Image:
        return kind(_PATH, reader=_Read(source, case, classes, array))

    images = {} if record.image is None else {"image": lazy(tio.ScalarImage, "image")}
    return WatchedSubject(
        grid,
        case=case,
        classes=classes,
        **images,
        label=lazy(tio.LabelMap, "label"),
        distance=lazy(tio.ScalarImage, "distance"),
        inside=lazy(tio.LabelMap, "inside"),
        maxima=torch.from_numpy(grid.maxima),
        means=torch.from_numpy(grid.means),
    )
