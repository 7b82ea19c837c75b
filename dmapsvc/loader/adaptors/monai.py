"""Cases in MONAI's dictionary pipelines: `LoadPhid` reads, `MakePhid` makes Φ after all that moves voxels.

What is between them is MONAI's own. Needs the extra `monai`; nothing else of the loader does.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dmapsvc.errors import BadInput, DmapsvcError
from dmapsvc.loader.adaptors.remade import remake_penalty
from dmapsvc.loader.adaptors.stretch import stretch
from dmapsvc.loader.adaptors.volume import CaseVolume, frozen_classes
from dmapsvc.loader.classes import Classes
from dmapsvc.loader.source import open_source
from dmapsvc.region import Scale, check_scale

try:
    from monai.data.meta_tensor import MetaTensor
    from monai.transforms.transform import MapTransform
except ModuleNotFoundError as error:
    if error.name is None or not error.name.startswith("monai"):
        raise
    raise DmapsvcError(
        "MONAI is not installed", "these transforms are for it", "Install it: pip install 'dmapsvc[monai]'"
    ) from None

_UNITS = "distance_units"
_SMALLEST = "distance_smallest"  # the smallest D that a voxel can have
_MEASURED_ON = "distance_affine"  # the affine of the grid on which D was measured


class LoadPhid(MapTransform):
    """Read the case whose name is under `keys`, and add its arrays to the dictionary.

    `location`: a dataset folder or its URL. `keys`: the one key of the name. Added:

    - `image`: float32 (C, x, y, z), the stored voxels, not normalised; left out if the case has none;
    - `label`: class indices, int16 (1, x, y, z), or int32 for more than 32,767 classes;
    - `distance`: float32 (2, x, y, z): D, the distance to the nearest voxel of another region, and ones,
      which go where D goes and tell `MakePhid` what is padding;
    - `maxima`, `means`: float32 (classes,), M and the mean Φ of each class's region, for `MakePhid`.

    The first three are MetaTensors in the axis order of the file, as MONAI's `LoadImaged` has it, with the
    file's affine to RAS+ mm: the store's (z, y, x) transposed. Every spatial transform must name all three in
    its `keys` and interpolate "bilinear", "nearest", "bilinear"; no intensity transform may name `distance`.
    `classes`: a frozen list; the dataset's own if left out.

    Raises what `open_source` raises, NotFound for a dataset without labels, BadInput for `classes` without 0
    first or with a value twice; when called, BadInput if no name is there, NotFound if no such case is,
    BadLabels for a label outside `classes`, Damaged.
    """

    def __init__(
        self, location: str | Path, keys: Hashable = "case", *, classes: Classes | None = None
    ) -> None:
        super().__init__(keys)
        self._source = open_source(location)
        self.classes = frozen_classes(self._source, classes)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The dictionary with what was read."""
        name = data.get(self.keys[0])
        if not isinstance(name, str):
            raise BadInput(
                f"{self.keys[0]!r} is {name!r}",
                "wanted the name of a case",
                'Give each item one, like {"case": "case01"}',
            )
        volume = CaseVolume(self._source, name, self.classes)
        read: dict[Hashable, Any] = {
            "label": _meta_tensor(volume.label()[None], volume),
            "distance": _meta_tensor(volume.distance(), volume),
            "maxima": torch.from_numpy(volume.grid.maxima),
            "means": torch.from_numpy(volume.grid.means),
        }
        if volume.record.image is not None:
            read["image"] = _meta_tensor(volume.image(), volume)
        return {**data, **read}


class MakePhid(MapTransform):
    """Make `phi` of the `label`, `distance`, `maxima` and `means` of `LoadPhid`, after all that moves voxels.

    `phi`: float32 (1, x, y, z), Φ = M(label) − D in the `scale`, never interpolated itself. `label` becomes
    int64, and IGNORE_INDEX where there is padding with zeros, or D is interpolated with it, however many
    transforms ago: where less is left of the ones beside D. There Φ is 0. `distance` is dropped.
    `maxima` and `means` are zoomed as D is: MONAI's zooms leave values alone and say in the affine what they
    did, from which the factor is taken (`stretch`).

    Raises BadInput for an unknown scale; when called, for a grid on which D is no distance any more, or not
    that of the label map, for a `distance` whose values were changed, and if one of the four is missing or
    carries no affine.
    """

    def __init__(self, scale: Scale = "region") -> None:
        super().__init__(("label", "distance", "maxima", "means"))
        self.scale = check_scale(scale)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The dictionary with `phi` instead of `distance`."""
        label, values, maxima, means = (_plain(data, key) for key in self.keys)
        distance = data["distance"]
        if not isinstance(distance, MetaTensor) or _MEASURED_ON not in distance.meta:
            raise BadInput(
                "'distance' has lost its metadata",
                "the affine in them says how far it was zoomed",
                "Leave MONAI's tracking of metadata on, and give a PersistentDataset track_meta=True",
            )
        meta, affine = distance.meta, distance.affine
        _check_grid(data["label"], affine)
        remade = remake_penalty(
            label=label,
            distance=values,
            maxima=maxima,
            means=means,
            smallest=meta[_SMALLEST],
            stretch=stretch(meta[_MEASURED_ON], affine.numpy(), meta[_UNITS]),
            scale=self.scale,
        )
        kept = {key: value for key, value in data.items() if key != "distance"}
        return {
            **kept,
            "label": MetaTensor(remade.label, affine=affine),
            "phi": MetaTensor(remade.phi, affine=affine),
            "maxima": remade.maxima,
            "means": remade.means,
        }


def _check_grid(label: object, affine: Tensor) -> None:
    if isinstance(label, MetaTensor) and not np.allclose(label.affine, affine, atol=1e-4):
        raise BadInput(
            "'label' and 'distance' were moved apart",
            "their affines differ",
            "Name both, and the image, in the keys of each spatial transform",
        )


def _meta_tensor(values: NDArray[Any], volume: CaseVolume) -> MetaTensor:
    grid = volume.grid
    meta = {
        "filename_or_obj": volume.name,
        "affine": torch.tensor(grid.affine),
        "original_affine": grid.affine,
        "space": "RAS",
        _MEASURED_ON: grid.affine,
        _SMALLEST: grid.smallest,
        _UNITS: grid.units,
    }
    return MetaTensor(torch.from_numpy(values), meta=meta)


def _plain(data: Mapping[Hashable, Any], key: Hashable) -> Tensor:
    if key not in data:
        raise BadInput(f"{key!r} is missing", "LoadPhid adds it", "Keep it until MakePhid")
    value: Tensor = data[key]
    return value.as_tensor() if isinstance(value, MetaTensor) else value
