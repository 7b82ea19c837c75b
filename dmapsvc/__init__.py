"""Error-penalising distance maps for segmentation: exact Φ, its Zarr store, and the way into training.

    >>> from dmapsvc import MapSpec, penalty_map, open_dataset

Importing this module is light; what a name needs is imported when the name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dmapsvc.loader.source import open_dataset
    from dmapsvc.maps import PenaltyMap, penalty_map
    from dmapsvc.spec import MapSpec

__all__ = ["MapSpec", "PenaltyMap", "open_dataset", "penalty_map"]
__version__ = "0.1.0"

_HOMES = {
    "MapSpec": "dmapsvc.spec",
    "PenaltyMap": "dmapsvc.maps",
    "penalty_map": "dmapsvc.maps",
    "open_dataset": "dmapsvc.loader.source",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
