"""Memory of the card and pinned memory of the host, that tell who writes beside them or uses them too late.

A block of the card lies between two guards that are looked at after each kernel, and begins with rubbish. A
copy insists that its end on the host is pinned memory, and still in somebody's hands when it is made.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from typing import Any

import numpy as np

from ._card import Allocation, check, total_memory, used_memory
from ._stream import Stream, get_current_stream

_GUARD, _RUBBISH = 0xA5, 0xC3
_GUARD_SIZE = 256

_blocks: weakref.WeakSet[Memory] = weakref.WeakSet()
_pinned: dict[int, int] = {}  # size by address, of what is in somebody's hands
_free_pinned: dict[int, list[Any]] = {}
_lock = threading.RLock()


class Memory:
    """A block of the card."""

    def __init__(self, size: int) -> None:
        self.allocation = Allocation(size)
        self.size = size
        self._bytes = np.full(size + 2 * _GUARD_SIZE, _GUARD, np.uint8)
        self.bytes = self._bytes[_GUARD_SIZE : _GUARD_SIZE + size]
        self.bytes[:] = _RUBBISH
        with _lock:
            _blocks.add(self)

    def check_guards(self) -> None:
        """Fail if somebody wrote beside the block."""
        assert (self._bytes[:_GUARD_SIZE] == _GUARD).all(), "a kernel wrote before its block"
        assert (self._bytes[-_GUARD_SIZE:] == _GUARD).all(), "a kernel wrote beyond its block"


def check_guards() -> None:
    """Fail if somebody wrote beside a block."""
    with _lock:
        blocks = list(_blocks)
    for block in blocks:
        block.check_guards()


class MemoryPointer:
    """A place in a block of the card."""

    def __init__(self, mem: Memory, offset: int) -> None:
        self.mem, self._offset = mem, offset

    @property
    def ptr(self) -> int:
        return int(self.mem.bytes.ctypes.data) + self._offset

    def __add__(self, offset: int) -> MemoryPointer:
        return MemoryPointer(self.mem, self._offset + offset)

    def bytes(self, size: int) -> Any:
        """The bytes from here on; not CuPy's."""
        assert 0 <= self._offset <= self._offset + size <= self.mem.size, "beside the block"
        return self.mem.bytes[self._offset : self._offset + size]

    def copy_from_host_async(self, mem: int, size: int, stream: Stream | None = None) -> None:
        target = self.bytes(size)

        def copy() -> None:
            target[:] = _pinned_bytes(mem, size)

        (stream or get_current_stream()).enqueue(copy)

    def copy_to_host_async(self, mem: int, size: int, stream: Stream | None = None) -> None:
        source = self.bytes(size)

        def copy() -> None:
            _pinned_bytes(mem, size)[:] = source

        (stream or get_current_stream()).enqueue(copy)

    def copy_from_device_async(self, src: MemoryPointer, size: int, stream: Stream | None = None) -> None:
        target, source = self.bytes(size), src.bytes(size)

        def copy() -> None:
            target[:] = source

        (stream or get_current_stream()).enqueue(copy)

    def memset_async(self, value: int, size: int, stream: Stream | None = None) -> None:
        target = self.bytes(size)
        (stream or get_current_stream()).enqueue(lambda: target.fill(value))


def alloc(size: int) -> MemoryPointer:
    """A block of the card."""
    return MemoryPointer(Memory(size), 0)


class MemoryPool:
    """Keeps nothing."""

    def used_bytes(self) -> int:
        return used_memory()

    def free_bytes(self) -> int:
        return 0

    def total_bytes(self) -> int:
        return used_memory()

    def free_all_blocks(self, stream: Stream | None = None) -> None:
        check()


class PinnedMemoryPool:
    """What is kept for the next who asks."""

    def n_free_blocks(self) -> int:
        return sum(map(len, _free_pinned.values()))

    def free_all_blocks(self) -> None:
        _free_pinned.clear()


def mem_get_info() -> tuple[int, int]:
    """Bytes that are free, and all."""
    check()
    return total_memory() - used_memory(), total_memory()


def alloc_pinned_memory(size: int) -> Any:
    """Pinned memory of a power of two; kept for the next when nothing refers to it any more."""
    check()
    capacity = max(512, 1 << (size - 1).bit_length())
    with _lock:
        kept = _free_pinned.setdefault(capacity, [])
        block = kept.pop() if kept else (ctypes.c_char * capacity)()
    pointer = _pointer_type(capacity).from_buffer(block)
    pointer.ptr = ctypes.addressof(block)
    with _lock:
        _pinned[pointer.ptr] = capacity
    weakref.finalize(pointer, _keep, block).atexit = False
    return pointer


def _pointer_type(capacity: int) -> Any:
    return type("PinnedMemoryPointer", (ctypes.c_char * capacity,), {})


def _keep(block: Any) -> None:
    with _lock:
        del _pinned[ctypes.addressof(block)]
        ctypes.memset(block, _RUBBISH, len(block))
        _free_pinned.setdefault(len(block), []).append(block)


def _pinned_bytes(address: int, size: int) -> Any:
    with _lock:
        held = any(start <= address <= address + size <= start + room for start, room in _pinned.items())
    assert held, "a copy on a stream needs pinned memory that lives until the copy is made"
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
