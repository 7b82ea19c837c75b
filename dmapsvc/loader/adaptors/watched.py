"""A TorchIO subject that looks after its D: each transform applied is checked, and padding kept known.

TorchIO tells a subject of every transform, which is where this is done. Making Φ is not (`torchio.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torchio as tio
from numpy.typing import NDArray

from dmapsvc.errors import BadInput
from dmapsvc.loader.adaptors.stretch import stretch
from dmapsvc.loader.adaptors.volume import CaseGrid

_KINDS = {"distance": tio.INTENSITY, "label": tio.LABEL, "inside": tio.LABEL}
_CARRIED = tuple(_KINDS)  # they move together or not at all
_ELASTIC = ("ElasticDeformation", "AffineElasticDeformation")
_HIDDEN_FILLS = (1, "minimum", "maximum", "mean", "median", "empty")  # of `inside`, nothing but ones: 1 again
_TO_LPS = np.diag((-1.0, -1.0, 1.0))  # SimpleITK's world, in which TorchIO's transforms are


class WatchedSubject(tio.Subject):
    """A subject with `distance`, D and ones in two channels, `label` and `inside`, a LabelMap of ones.

    `case_grid`: that of the case as it was read.
    """

    def __init__(self, case_grid: CaseGrid, **content: object) -> None:
        super().__init__(**content)
        self.case_grid = case_grid
        self._moved: NDArray[np.float64] = np.eye(3)  # from where D is now to where it was, in RAS: what
        # transforms did that left the affine as it was

    def stretched(self) -> float:
        """The factor of D by all that was done; raises BadInput where there is none (`stretch.stretch`)."""
        affine = self.get_scalar_image("distance").affine
        return stretch(self.case_grid.affine, affine, self.case_grid.units, self._moved)

    def add_transform(self, transform: tio.Transform, parameters_dict: dict[str, object]) -> None:
        """Take note of a transform; TorchIO calls this after each.

        Raises BadInput if D is no distance any more after it.
        """
        super().add_transform(transform, parameters_dict)
        if not self.keys() >= _KINDS.keys():  # Φ is made
            return
        check_transform(transform)
        if isinstance(transform, tio.SpatialTransform) and _is_given(transform, "distance"):
            self._empty_padding()
            if isinstance(transform, tio.Affine):
                self._moved = self._moved @ _linear(transform, self.get_scalar_image("distance"))
            self.stretched()  # after each, as what is lost on the way there does not come back

    def _empty_padding(self) -> None:
        """Set D and the ones to 0 in padding, where many transforms put the smallest value that they find.

        The next one that interpolates so mixes padding into both alike.
        """
        distance, inside = self.get_scalar_image("distance"), self.get_label_map("inside")
        distance.set_data(distance.data * (inside.data == 1))


def check_transform(transform: tio.Transform) -> None:
    """Raises BadInput for a transform of TorchIO after which D, as it was given it, is no distance."""
    name = transform.name
    if isinstance(transform, tio.SpatialTransform):
        _check_spatial(transform)
    elif changed := _changed(transform):
        raise BadInput(
            f"{name} changed {changed!r}",
            "only what moves voxels may act on 'distance', 'label' and 'inside'",
            "Give it include=['image'], or exclude=['distance', 'label', 'inside']",
        )


def _check_spatial(transform: tio.SpatialTransform) -> None:
    name, given = transform.name, [key for key in _CARRIED if _is_given(transform, key)]
    if not given:
        return
    if len(given) < len(_CARRIED) or getattr(transform, "scalars_only", False):
        raise BadInput(
            f"{name} moved some of {', '.join(_CARRIED)} and not the others",
            "Φ is made of all three",
            "Give it all images; RandomAnisotropy takes include=['image']",
        )
    if name in _ELASTIC:
        raise BadInput(
            f"{name} was applied", "a distance map cannot follow it", "Turn, flip and zoom instead"
        )
    for option in ("padding_mode", "default_pad_label"):
        if getattr(transform, option, 0) in _HIDDEN_FILLS:
            raise BadInput(
                f"{name} has {option}={getattr(transform, option)!r}",
                "padding would not be told from the volume",
                "Pad with 0, or with a mode that repeats the volume",
            )


def _changed(transform: tio.Transform) -> str | None:
    """The first of what is carried whose values a transform that moves nothing has changed."""
    kinds: Sequence[str] = ()
    if isinstance(transform, tio.IntensityTransform):
        kinds = (tio.INTENSITY,)
    elif isinstance(transform, tio.LabelTransform):
        kinds = (tio.LABEL,)
    elif isinstance(transform, tio.Lambda):
        kinds = transform.types_to_apply or tuple(_KINDS.values())
    return next((key for key in _CARRIED if _KINDS[key] in kinds and _is_given(transform, key)), None)


def _is_given(transform: tio.Transform, key: str) -> bool:
    included, excluded = transform.include, transform.exclude
    return (included is None or key in included) and key not in (excluded or ())


def _linear(affine: tio.Affine, image: tio.Image) -> NDArray[np.float64]:
    back = affine.get_affine_transform(image)
    origin = np.array(back.TransformPoint((0.0, 0.0, 0.0)))
    columns = [np.array(back.TransformPoint(unit)) - origin for unit in np.eye(3).tolist()]
    linear: NDArray[np.float64] = _TO_LPS @ np.stack(columns, axis=1) @ _TO_LPS
    return linear
