"""From a dataset, in a folder or behind a service, to batches of random training patches.

Opening a dataset (`source`) needs no torch; what is named here does, and is imported when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dmapsvc.loader.batch import IGNORE_INDEX, Batch
    from dmapsvc.loader.patchloader import PatchLoader
    from dmapsvc.loader.turns import Augment

__all__ = ["IGNORE_INDEX", "Augment", "Batch", "PatchLoader"]

_HOMES = {
    "IGNORE_INDEX": "dmapsvc.loader.batch",
    "Augment": "dmapsvc.loader.turns",
    "Batch": "dmapsvc.loader.batch",
    "PatchLoader": "dmapsvc.loader.patchloader",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
