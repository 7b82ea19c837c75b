"""The names by which losses and networks are asked for, and the patches that each network takes.

Free of torch, so that settings, `--help` and configuration files can check a name at once. What a name stands
for is made in `losses.make_loss` and `networks.make_network`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, get_args

from dmapsvc.errors import BadInput

LossName = Literal[
    "penalty",
    "penalty-dice",
    "cross-entropy",
    "dice",
    "weighted-cross-entropy",
    "focal",
    "confidence-penalty",
]
LOSSES: tuple[LossName, ...] = get_args(LossName)

NetworkName = Literal["vnet", "monai-vnet", "monai-unet", "monai-dynunet", "monai-segresnet"]
NETWORKS: tuple[NetworkName, ...] = get_args(NetworkName)

DIVISORS: Mapping[NetworkName, int] = MappingProxyType(
    {"vnet": 16, "monai-vnet": 16, "monai-unet": 8, "monai-dynunet": 16, "monai-segresnet": 8}
)
"""What every side of a patch must be a multiple of: 2 to the number of halvings."""

_NORMALISES_EACH = ("monai-unet", "monai-dynunet")
"""Instance normalisation: one voxel alone, at the bottom, has no variance."""

_NORMALISES_BATCH = ("monai-vnet",)
"""Batch normalisation: nor has one alone in the whole batch."""


def check_loss(name: str) -> LossName:
    """`name` itself; raises BadInput if no loss is called that."""
    if name not in LOSSES:
        raise BadInput(f"loss {name!r}", f"wanted one of {', '.join(LOSSES)}")
    return name


def check_network(name: str) -> NetworkName:
    """`name` itself; raises BadInput if no network is called that."""
    if name not in NETWORKS:
        raise BadInput(f"network {name!r}", f"wanted one of {', '.join(NETWORKS)}")
    return name


def check_patch(name: NetworkName, patch: Sequence[int], batch: int) -> None:
    """Raises BadInput unless network `name` can learn from patches of these sides, (z, y, x) in voxels, so
    many at a time.
    """
    divisor = DIVISORS[check_network(name)]
    if len(patch) != 3:
        raise BadInput(f"patch {tuple(patch)}", "wanted three sides", "Try (64, 64, 64)")
    near = tuple(max(1, (side + divisor // 2) // divisor) * divisor for side in patch)
    alone = name in _NORMALISES_EACH or (name in _NORMALISES_BATCH and batch == 1)
    small = alone and all(side == divisor for side in near)
    remedy = f"Try {(2 * divisor,) * 3 if small else near}"
    if near != tuple(patch):
        raise BadInput(f"patch {tuple(patch)}", f"{name} wants three sides, multiples of {divisor}", remedy)
    if small:
        more = ", or a batch above 1" if name in _NORMALISES_BATCH else ""
        raise BadInput(f"patch {tuple(patch)}", f"{name} wants a side above {divisor}{more}", remedy)
