"""C functions of libraries that are installed anyway: where they lie, and what Python calls of them.

numcodecs' extension module exports the whole of C-Blosc, google-crc32c brings libcrc32c. How compiled code
calls them is `native.py`'s; nothing here imports a compiler.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

_CHECKSUM = ("google_crc32c._crc32c", "crc32c_extend")
_MISSING = (ImportError, OSError, AttributeError)


class Functions(NamedTuple):
    """Addresses. `decompress` is `blosc_decompress_ctx`, which has no global state; `checksum` is
    `crc32c_extend`.
    """

    decompress: int
    checksum: int


@cache
def functions() -> Functions | None:
    """The functions, or None where a library is built in another way and does not export its own."""
    try:
        return Functions(
            decompress=_address("numcodecs.blosc", "blosc_decompress_ctx"), checksum=_address(*_CHECKSUM)
        )
    except _MISSING:
        return None


@cache
def checksum() -> Callable[[int, int, int], int] | None:
    """crc32c of (nothing before: 0, an address, bytes there), called without the GIL; None as `functions`."""
    try:
        address = _address(*_CHECKSUM)
    except _MISSING:
        return None
    return ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_size_t)(address)


def _address(module: str, function: str) -> int:
    library = ctypes.CDLL(importlib.import_module(module).__file__)
    address = ctypes.cast(getattr(library, function), ctypes.c_void_p).value
    if address is None:
        raise AttributeError(function)
    return address
