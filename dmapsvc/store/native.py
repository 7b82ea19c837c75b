"""Calls of the C functions of `libraries.py`, from compiled code without the GIL.

Addresses go through compiled code as plain numbers, so that code kept on disk holds for the next process.
What the functions are used for is decided in `decode`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_INT, _SIZE = ir.IntType(32), ir.IntType(8 * ctypes.sizeof(ctypes.c_size_t))


def _instruction(typing: Callable[..., Any]) -> Callable[..., Any]:
    operation: Callable[..., Any] = intrinsic(typing)
    return operation


@_instruction
def decompress(typing: Any, function: Any, source: Any, target: Any, size: Any) -> Any:
    """Decompress the blosc buffer at `source` into `size` bytes at `target`, on this thread.

    `function` is the address of `blosc_decompress_ctx`. The number of bytes written, negative for a buffer
    that is broken. It believes the length in the buffer's own header.
    """

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, *rest = arguments
        threads = _INT(1)
        return _call(builder, address, (_SIZE, _SIZE, _SIZE, _INT), (*rest, threads))

    return types.int32(types.uintp, types.uintp, types.uintp, types.uintp), emit


@_instruction
def checksum(typing: Any, function: Any, source: Any, size: Any) -> Any:
    """crc32c of `size` bytes at `source`; `function` is the address of `crc32c_extend`."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, *rest = arguments
        nothing_before = _INT(0)
        return _call(builder, address, (_INT, _SIZE, _SIZE), (nothing_before, *rest))

    return types.uint32(types.uintp, types.uintp, types.uintp), emit


def _call(builder: Any, address: Any, kinds: tuple[Any, ...], arguments: tuple[Any, ...]) -> Any:
    """A call of the C function at `address`, of arguments of `kinds`, that returns 32 bits."""
    function = ir.FunctionType(_INT, kinds)
    return builder.call(builder.inttoptr(address, function.as_pointer()), arguments)
