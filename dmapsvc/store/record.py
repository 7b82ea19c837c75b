"""What a published case says about itself: the JSON under the attribute `dmapsvc` of its group.

Plain frozen records and their JSON, nothing of Zarr. They hold no path, no patient data and no free text of a
header.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmapsvc.region import Region
from dmapsvc.spec import MapSpec, Quantisation, Spacing

Affine = tuple[tuple[float, float, float, float], ...]
Shape = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Mean, deviation and range of one channel's voxels as they are stored.

    `deviation` is the standard deviation over all voxels, 1.0 where every voxel is the same.
    """

    mean: float
    deviation: float
    minimum: float
    maximum: float


@dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """The image of a case.

    `sha256` is the image file's; `shape` is (z, y, x) without the channels, of which there are `channels`;
    `axes` is 3, or 4 where the array has an axis for them. `spacing` in mm and `affine`, (i, j, k, 1) to RAS+
    mm, are the image's own, or None where its file has none. `moments`: one for each channel.
    """

    sha256: str
    shape: Shape
    dtype: str
    moments: tuple[Moments, ...]
    channels: int = 1
    axes: int = 3
    spacing: Spacing | None = None
    affine: Affine | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ImageRecord:
        """The inverse of `to_json`."""
        return cls(
            sha256=data["sha256"],
            shape=_triple(data["shape"]),
            dtype=data["dtype"],
            moments=tuple(Moments(**moments) for moments in data["moments"]),
            channels=data["channels"],
            axes=data["axes"],
            spacing=_spacing(data["spacing"]),
            affine=affine_rows(data["affine"]),
        )


@dataclass(frozen=True, kw_only=True)
class CaseRecord:
    """A published case: which map it is, of which mask, on which grid, and what was found in it.

    `id` is the map's identity (`spec.map_id`), also the id of the job that makes it. `shape` is (z, y, x),
    `spacing` in mm or None, `affine` (i, j, k, 1) to RAS+ mm or None. `regions` as in `maps.PenaltyMap`;
    `absent`: chosen labels without a voxel. `seconds` by stage; `published` is when the map was, in ISO
    8601, UTC: an image that comes later does not change it.
    """

    id: str
    spec: MapSpec
    map_version: int
    mask_sha256: str
    revision: int
    shape: Shape
    spacing: Spacing | None
    affine: Affine | None
    regions: tuple[Region, ...]
    absent: tuple[int, ...]
    backend: str
    quantisation: Quantisation
    published: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    image: ImageRecord | None = None

    @property
    def spec_hash(self) -> str:
        """sha256 of the spec."""
        return self.spec.hash

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, for the attributes of a case and for HTTP."""
        step = self.quantisation
        return {
            "id": self.id,
            "spec": self.spec.to_json(),
            "spec_hash": self.spec_hash,
            "map_version": self.map_version,
            "mask_sha256": self.mask_sha256,
            "revision": self.revision,
            "shape": list(self.shape),
            "spacing": None if self.spacing is None else list(self.spacing),
            "affine": None if self.affine is None else [list(row) for row in self.affine],
            "regions": [dataclasses.asdict(region) for region in self.regions],
            "absent": list(self.absent),
            "backend": self.backend,
            "quantisation": {
                "scale_factor": step.scale_factor,
                "add_offset": step.add_offset,
                "max_error": step.max_error,
            },
            "published": self.published,
            "seconds": dict(self.seconds),
            "image": None if self.image is None else self.image.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CaseRecord:
        """The inverse of `to_json`; a key that is missing is a KeyError."""
        step = data["quantisation"]
        return cls(
            id=data["id"],
            spec=MapSpec.from_json(data["spec"]),
            map_version=data["map_version"],
            mask_sha256=data["mask_sha256"],
            revision=data["revision"],
            shape=_triple(data["shape"]),
            spacing=_spacing(data["spacing"]),
            affine=affine_rows(data["affine"]),
            regions=tuple(Region(**region) for region in data["regions"]),
            absent=tuple(data["absent"]),
            backend=data["backend"],
            quantisation=Quantisation(scale_factor=step["scale_factor"], add_offset=step["add_offset"]),
            published=data["published"],
            seconds=dict(data["seconds"]),
            image=None if data["image"] is None else ImageRecord.from_json(data["image"]),
        )


def affine_rows(affine: NDArray[np.floating[Any]] | Any | None) -> Affine | None:
    """A 4×4 matrix, an array or nested lists, as nested tuples of floats; None stays None."""
    if affine is None:
        return None
    rows = np.asarray(affine, dtype=np.float64).reshape(4, 4).tolist()
    return tuple((row[0], row[1], row[2], row[3]) for row in rows)


def _triple(values: Any) -> Shape:
    z, y, x = values
    return int(z), int(y), int(x)


def _spacing(values: Any | None) -> Spacing | None:
    if values is None:
        return None
    z, y, x = values
    return float(z), float(y), float(x)
