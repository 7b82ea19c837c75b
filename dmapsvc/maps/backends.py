"""Which backends there are, and which of them really works on this machine.

A backend is imported only when it is chosen.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib import import_module
from typing import cast

import numpy as np

from dmapsvc.errors import DeviceFailed
from dmapsvc.maps.distances import Backend, Distances
from dmapsvc.maps.regions import RegionMap, region_map
from dmapsvc.spec import MapSpec, Quantisation, Spacing

_log = logging.getLogger(__name__)

_MODULES = {"numba": "dmapsvc.maps.numba_backend", "scipy": "dmapsvc.maps.scipy_backend"}

BACKENDS: tuple[str, ...] = tuple(_MODULES)  # the fastest first: the order in which `auto` tries them


def choose_backend(name: str = "auto") -> str:
    """The backend that `name` stands for here: `auto` is the fastest that works, any other name itself.

    Each is tried once a process on a volume of two voxels. Raises DeviceFailed for a name that is no
    backend, and for one that does not work on this machine.
    """
    if name == "auto":
        return next(candidate for candidate in BACKENDS if _fault(candidate) is None)
    if name not in _MODULES:
        raise DeviceFailed(f"backend {name!r}", f"wanted auto, {' or '.join(BACKENDS)}")
    fault = _fault(name)
    if fault is not None:
        raise DeviceFailed(f"backend {name!r} does not work here: {fault}", "", "Choose 'auto' or 'scipy'")
    return name


def measure(
    regions: RegionMap, sampling: Spacing, name: str, threads: int
) -> tuple[str, Distances, tuple[str, ...]]:
    """D of a volume by the backend that `name` stands for: which one it was, D, and notes on why."""
    chosen = choose_backend(name)
    return chosen, load_backend(chosen).measure(regions, sampling, threads), ()


def load_backend(name: str) -> Backend:
    """The module of a backend that `choose_backend` returned."""
    return cast(Backend, import_module(_MODULES[name]))


@cache
def _fault(name: str) -> str | None:
    """Why a backend does not work here, logged once a process; None if it does."""
    try:
        backend = load_backend(name)
        try:
            _try_out(backend)
        except Exception as error:
            _log.warning("backend %s failed and is made anew: %s", name, _reason(error))
            backend.mend()
            _try_out(backend)
    except Exception as error:  # whatever a missing library, compiler or device raises
        _log.warning("backend %s does not work here: %s", name, _reason(error))
        return _reason(error)
    return None


def _try_out(backend: Backend) -> None:
    pair = region_map(np.array([[[0, 1]]], np.uint8), MapSpec())
    backend.measure(pair, (1.0, 1.0, 1.0), 1).quantised(Quantisation(scale_factor=1.0))
    backend.measure(pair, (1.0, 1.0, 1.0), 1).phi()


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]
