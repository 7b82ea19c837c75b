"""The floats that stored values become: stored · factor + offset.

In which precision that is calculated, whoever decodes the values. What the factors are is the loader's
affair.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float32] | NDArray[np.float64]
"""Factors or offsets, one a channel or class."""


def precision(stored: np.dtype[Any]) -> type[np.float32] | type[np.float64]:
    """float32 for the types whose values it holds, float64 for others, which would be rounded before a large
    mean is taken off.
    """
    return np.float32 if np.can_cast(stored, np.float32, "safe") else np.float64


def in_precision(stored: np.dtype[Any], *numbers: Numbers) -> tuple[NDArray[Any], ...]:
    """Factors and offsets in the precision for what is `stored`."""
    kind = precision(stored)
    return tuple(array.astype(kind, copy=False) for array in numbers)
