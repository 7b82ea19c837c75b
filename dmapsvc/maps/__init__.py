"""From a label map to its error-penalising distance map Φ: `penalty_map`, `quantised_map`, and the backends
that measure D.

Reading label maps from files and keeping Φ are not done here.
"""

from dmapsvc.maps.backends import BACKENDS, choose_backend
from dmapsvc.maps.penalty import PenaltyMap, penalty_map, quantised_map

__all__ = ["BACKENDS", "PenaltyMap", "choose_backend", "penalty_map", "quantised_map"]
