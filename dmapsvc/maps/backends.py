"""Which backends there are, which of them really work on this machine, and which of those maps a volume.

A backend is imported only when it is tried.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Generic, TypeVar, cast

import numpy as np

from dmapsvc.errors import DeviceFailed, DeviceFull, DeviceLost, DeviceMissing
from dmapsvc.maps.cards import require_card
from dmapsvc.maps.distances import Backend, Distances
from dmapsvc.maps.regions import RegionMap, region_map
from dmapsvc.spec import MapSpec, Quantisation, Spacing

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_MODULES = {
    "cuda": "dmapsvc.maps.cuda_backend",
    "cucim": "dmapsvc.maps.cucim_backend",
    "numba": "dmapsvc.maps.numba_backend",
    "scipy": "dmapsvc.maps.scipy_backend",
}
ON_CARD = ("cuda", "cucim")

BACKENDS: tuple[str, ...] = tuple(_MODULES)  # the fastest first: the order in which `auto` tries them


@dataclass(frozen=True, kw_only=True)
class Measured(Generic[_T]):
    """What was taken of a volume's distances, and by which backend; `notes` say why by no faster one."""

    backend: str
    distances: Distances
    taken: _T
    notes: tuple[str, ...]


def choose_backend(name: str = "auto") -> str:
    """The backend that `name` stands for here: `auto` is the fastest that works, any other name itself.

    Each is tried once a process on a volume of two voxels. Raises DeviceFailed for a name that is no
    backend, and for one that does not work on this machine.
    """
    return next(_candidates(name))


def load_backend(name: str) -> Backend:
    """The module of a backend that `choose_backend` returned."""
    return cast(Backend, import_module(_MODULES[name]))


def measure(
    regions: RegionMap, sampling: Spacing, name: str, threads: int, take: Callable[[Distances], _T]
) -> Measured[_T]:
    """What `take` takes of D, measured by the fastest backend that works and that the volume fits.

    `auto` goes on to the next one where a volume is refused, or where its device fails or lacks the memory,
    for `take` too. A backend that is named is that one or DeviceFailed. Raises DeviceLost at once: this
    process had better end.
    """
    notes: list[str] = []
    for candidate in _candidates(name):
        backend = load_backend(candidate)
        try:
            why = backend.refusal(regions)
            if why is None:
                distances = backend.measure(regions, sampling, threads)
                return Measured(
                    backend=candidate,
                    distances=distances,
                    taken=take(distances),
                    notes=tuple(f"{note}: mapped by {candidate}." for note in notes),
                )
        except DeviceFailed as error:
            if name != "auto" or isinstance(error, DeviceLost):
                raise
            _log.warning("backend %s: %s", candidate, error)
            why = error.found
        notes.append(f"{candidate} could not take this volume ({why})")
    raise DeviceFailed("; ".join(notes), remedy="Choose 'auto', which goes on to the next backend")


def _candidates(name: str) -> Iterator[str]:
    """The backends that `name` may stand for, those that work; raises DeviceFailed if there is none."""
    if name == "auto":
        yield from (candidate for candidate in BACKENDS if _fault(candidate) is None)
        return
    if name not in _MODULES:
        raise DeviceFailed(f"backend {name!r}", f"wanted auto, {', '.join(BACKENDS[:-1])} or {BACKENDS[-1]}")
    fault = _fault(name)
    if fault is not None:
        raise type(fault)(
            f"backend {name!r} does not work here: {fault.found}",
            remedy=fault.remedy or "Choose 'auto' or 'scipy'",
        )
    yield name


@cache
def _fault(name: str) -> DeviceFailed | None:
    """Why a backend does not work here, logged once a process; None if it does."""
    try:
        _try_out(name)
    except DeviceMissing as error:
        _log.debug("backend %s: %s", name, error)  # as on most machines
        return error
    except DeviceFull:
        return None  # it works, and what fits is asked anew for each volume
    except DeviceFailed as error:
        _log.warning("backend %s does not work here: %s", name, error)
        return error
    return None


def _try_out(name: str) -> None:
    """Map a volume of two voxels, with a backend made anew if it fails; raises DeviceFailed."""
    try:
        if name in ON_CARD:
            require_card()
        backend = load_backend(name)
        try:
            _map_a_pair(backend)
        except DeviceFailed:
            raise
        except Exception as error:
            _log.warning("backend %s failed and is made anew: %s", name, _reason(error))
            backend.mend()
            _map_a_pair(backend)
    except DeviceFailed:
        raise
    except Exception as error:  # whatever a missing library or compiler raises
        raise DeviceFailed(_reason(error)) from error


def _map_a_pair(backend: Backend) -> None:
    pair = region_map(np.array([[[0, 1]]], np.uint8), MapSpec())
    backend.measure(pair, (1.0, 1.0, 1.0), 1).quantised(Quantisation(scale_factor=1.0))
    backend.measure(pair, (1.0, 1.0, 1.0), 1).phi()


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]
