"""The distance backend that the lanes of a run share, and what becomes of them when its device is lost."""

from __future__ import annotations

import logging
import threading

from dmapsvc.errors import DeviceFailed, DeviceLost
from dmapsvc.maps import choose_backend
from dmapsvc.maps.backends import BACKENDS, ON_CARD, load_backend

_log = logging.getLogger(__name__)


class Device:
    """The backend to ask `maps` for, and permits for as many volumes as it measures at once with profit.

    `asked` is what maps are asked for, `auto` too; `chosen` the backend that stands for. Raises DeviceFailed
    for a backend that does not work here.
    """

    def __init__(self, backend: str) -> None:
        self._losing = threading.Lock()
        self._take(backend)

    def lose(self, error: DeviceLost) -> str:
        """Go on without the card, which only a new process could use again; a note that says so."""
        with self._losing:
            if self.asked == "auto" or self.asked in ON_CARD:  # else another lane was first
                self._take(next(name for name in BACKENDS if name not in ON_CARD and _works(name)))
                _log.warning("%s goes on instead: %s", self.asked, error)
        return f"The device was lost and {self.asked} went on in its place ({error.found})."

    def _take(self, backend: str) -> None:
        self.chosen = choose_backend(backend)
        self.asked = backend
        self.permits = threading.Semaphore(load_backend(self.chosen).side_by_side)


def _works(backend: str) -> bool:
    try:
        return choose_backend(backend) == backend
    except DeviceFailed:
        return False
