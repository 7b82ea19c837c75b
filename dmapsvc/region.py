"""What is known of one region of a map, and how its Φ is scaled where it is used.

A region is the background or one chosen label. The record travels with the map (store, loader, batches),
because every scale, and D = M − Φ itself, can be made again from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from dmapsvc.errors import BadInput

Scale = Literal["none", "region", "balanced"]
SCALES: tuple[Scale, ...] = get_args(Scale)


@dataclass(frozen=True, kw_only=True)
class Region:
    """One region of a map.

    `value` is the label in the mask (0: the background), `voxels` how many it has, `maximum` M, the largest
    D in it, and `mean_phi` the mean of Φ over it, both in the unit of the map. `degenerate`: the volume has
    no other region, so no boundary exists and Φ is 0.
    """

    value: int
    voxels: int
    maximum: float
    mean_phi: float
    degenerate: bool = False

    def scaling(self, scale: Scale) -> tuple[float, float]:
        """Factor and offset of this region's Φ, by `scaling`."""
        factor, offset = scaling(self.maximum, self.mean_phi, scale)
        return float(factor), float(offset)


def scaling(maximum: Any, mean_phi: Any, scale: Scale) -> tuple[Any, Any]:
    """Factor a and offset b of the scaled map Φ' = a·Φ + b, to be used in the weight 1 + Φ'.

    `maximum` and `mean_phi`: M and the mean of Φ, of one region as numbers or of many as two arrays of NumPy
    or torch; a and b are then such arrays too, or numbers where they are the same for all.

    `none`: Φ as it is, the paper's letter. `region`: Φ / M = 1 − D/M, in [0, 1); 0 where M is 0. `balanced`:
    the weight 1 + Φ over its region's mean weight, so that every region weighs as much as it has voxels.

    Raises BadInput for another scale.
    """
    check_scale(scale)
    if scale == "none":
        return 1.0, 0.0
    if scale == "region":
        there = maximum > 0
        return there / (maximum + (maximum == 0)), 0.0
    factor = 1.0 / (1.0 + mean_phi)
    return factor, factor - 1.0


def check_scale(scale: Scale) -> Scale:
    """`scale` itself; raises BadInput if there is none of that name."""
    if scale not in SCALES:
        raise BadInput(f"scale {scale!r}", f"wanted one of {', '.join(SCALES)}")
    return scale
