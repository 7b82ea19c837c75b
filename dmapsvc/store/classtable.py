"""From the values of a label map to the classes of a network.

Which values are classes is decided by the loader.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmapsvc.errors import BadInput

_MOST_SHORT = 32_767  # classes that int16 can number
_LOOKUP = 1 << 16  # entries: a value of one or two bytes is looked up, a larger one is searched for


@dataclass(frozen=True, kw_only=True)
class ClassTable:
    """The class index of every value that a label map may hold: 0 for one that is no class.

    `lookup`: the index of each value below 65,536, int16, or int32 if there are more than 32,767 classes.
    `values`: the classes' values, ascending, int64; `order`: the index of each.
    """

    lookup: NDArray[np.signedinteger[Any]]
    values: NDArray[np.int64]
    order: NDArray[np.int64]

    def indices(self, labels: NDArray[Any]) -> NDArray[np.int64]:
        """The class index of each voxel of `labels`, whole numbers of any type; in their shape."""
        place = np.searchsorted(self.values, labels).clip(max=len(self.values) - 1)
        return np.where(self.values[place] == labels, self.order[place], 0)


def class_table(classes: Sequence[int]) -> ClassTable:
    """The table of `classes`: the value of each, the background's 0 first.

    Raises BadInput if the first is not 0 or a value is there twice.
    """
    values = np.asarray(classes, dtype=np.int64)
    if not len(values) or values[0] != 0 or len(np.unique(values)) < len(values):
        raise BadInput(f"classes {list(classes)}", "wanted 0 first, the background, and each value once")
    kind: type[np.int16 | np.int32] = np.int16 if len(values) <= _MOST_SHORT else np.int32
    lookup, order = np.zeros(_LOOKUP, kind), np.argsort(values)
    low = values < _LOOKUP
    lookup[values[low]] = np.flatnonzero(low)
    return ClassTable(lookup=lookup, values=values[order], order=order)
