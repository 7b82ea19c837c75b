"""A stand-in for `cupy.cuda.runtime`."""

from typing import Any

from .._card import CUDARuntimeError, check, count_cards
from .._memory import mem_get_info
from .._stream import synchronize_everything

__all__ = [
    "CUDARuntimeError",
    "deviceSynchronize",
    "driverGetVersion",
    "getDevice",
    "getDeviceCount",
    "getDeviceProperties",
    "memGetInfo",
]

memGetInfo = mem_get_info  # noqa: N816  # CUDA's own name
deviceSynchronize = synchronize_everything  # noqa: N816


def getDeviceCount() -> int:  # noqa: N802
    """Those that this process may see."""
    check()
    return count_cards()


def driverGetVersion() -> int:  # noqa: N802
    """CUDA 13; 0 would say that no driver is installed."""
    return 13000


def getDevice() -> int:  # noqa: N802
    """The only one."""
    check()
    return 0


def getDeviceProperties(device: int) -> dict[str, Any]:  # noqa: N802
    """What is asked of them here."""
    check()
    return {"name": b"a fake of a card", "multiProcessorCount": 1, "memoryClockRate": 1, "memoryBusWidth": 1}
