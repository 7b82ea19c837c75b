"""What this worker computes on, as it tells others: the device's name and how much of its memory is taken."""

from __future__ import annotations

import logging

import psutil

from dmapsvc.errors import DeviceFailed
from dmapsvc.jobs import Device
from dmapsvc.maps.cards import card_name, free_memory, total_memory
from dmapsvc.settings import memory_limit

_ON_CARD = ("cuda", "cucim")

_log = logging.getLogger("worker")


def describe(backend: str) -> Device:
    """The device of a distance backend of `maps`, as it is now."""
    if backend not in _ON_CARD:
        used = psutil.Process().memory_info().rss
        return Device(backend=backend, name="CPU", memory_used=used, memory_total=memory_limit())
    try:
        total = total_memory()
        used = total - free_memory()
        return Device(backend=backend, name=card_name(), memory_used=used, memory_total=total)
    except DeviceFailed as error:  # a job that runs now will meet it too, and tell
        _log.warning("the GPU does not tell of its memory: %s", error)
        return Device(backend=backend, name="GPU")
