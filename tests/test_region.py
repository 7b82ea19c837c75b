"""How Φ is scaled: hand-worked."""

from __future__ import annotations

import pytest

from dmapsvc.errors import BadInput
from dmapsvc.region import Region

BONE = Region(value=5, voxels=4, maximum=4.0, mean_phi=1.0)
THIN = Region(value=6, voxels=4, maximum=0.0, mean_phi=0.0, degenerate=True)


@pytest.mark.parametrize(
    ("region", "scale", "phi", "scaled"),
    [
        (BONE, "none", 3.0, 3.0),
        (BONE, "region", 3.0, 0.75),
        (BONE, "balanced", 3.0, 1.0),  # weight 4 over the mean weight 2 is 2 = 1 + 1
        (BONE, "balanced", 0.0, -0.5),
        (THIN, "region", 0.0, 0.0),
        (THIN, "balanced", 0.0, 0.0),
    ],
)
def test_scaling_by_hand(region: Region, scale: str, phi: float, scaled: float) -> None:
    factor, offset = region.scaling(scale)  # type: ignore[arg-type]
    assert factor * phi + offset == pytest.approx(scaled)


def test_an_unknown_scale_names_the_known_ones() -> None:
    with pytest.raises(BadInput, match="none, region, balanced"):
        BONE.scaling("log")  # type: ignore[arg-type]
