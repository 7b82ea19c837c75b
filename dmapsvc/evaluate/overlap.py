"""G-DSC, the overlap of two masks as wholes. That of their boundaries is in `boundaries` and `surfaces`."""

from __future__ import annotations

import numpy as np

from dmapsvc.evaluate.masks import Mask, check_pair


def dice(truth: Mask, prediction: Mask) -> float:
    """The Dice coefficient 2 |T ∩ P| / (|T| + |P|) of two bool masks (z, y, x) (Dice 1945).

    From 0 to 1; two empty masks agree: 1. Raises BadInput, GridMismatch.
    """
    check_pair(truth, prediction)
    return coefficient(truth, prediction)


def coefficient(first: Mask, second: Mask) -> float:
    """Dice of two sets of voxels that are known to lie on one grid."""
    either = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    return 2 * int(np.count_nonzero(first & second)) / either if either else 1.0
