"""Stand-ins for the parts of `cupy.cuda`."""

from .._card import count_cards
from .._memory import MemoryPointer, alloc, alloc_pinned_memory
from .._stream import Device, Event, Stream, get_current_stream, get_elapsed_time
from . import compiler, driver, memory, runtime

__all__ = [
    "Device",
    "Event",
    "MemoryPointer",
    "Stream",
    "alloc",
    "alloc_pinned_memory",
    "compiler",
    "driver",
    "get_current_stream",
    "get_elapsed_time",
    "is_available",
    "memory",
    "runtime",
]


def is_available() -> bool:
    """Whether this process may see a card."""
    return count_cards() > 0
