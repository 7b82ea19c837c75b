"""A stand-in for CuPy and the card below it, for machines without one. It is no part of the product.

It stands in for: arrays (NumPy inside), with those functions of NumPy that CuPy has; kernels from source,
compiled for the host; streams, events, pinned memory; memory of the card, its limit and running out of it;
a context that breaks for good. Not for: speed, what happens at the same time on a card, several cards.
What its environment variables do is said in `_card`. `ndarray(host)` makes an array of the card from one of
NumPy's, `.host` gives it back.
"""

from __future__ import annotations

from typing import Any

import numpy as _numpy

from . import cuda
from ._array import ndarray, on_card
from ._card import check
from ._kernels import RawKernel, RawModule
from ._memory import MemoryPool, PinnedMemoryPool

__all__ = ["RawKernel", "RawModule", "array", "asarray", "asnumpy", "cuda", "ndarray"]

__version__ = "0.fake"

_pool, _pinned_pool = MemoryPool(), PinnedMemoryPool()


def array(values: Any, dtype: Any = None, copy: bool = True) -> ndarray:
    """A copy on the card, of an array of the host or the card."""
    check()
    return ndarray(_numpy.array(values.host if isinstance(values, ndarray) else values, dtype))


def asarray(values: Any, dtype: Any = None) -> ndarray:
    """`values` on the card, themselves if they are there."""
    if isinstance(values, ndarray) and dtype in (None, values.dtype):
        return values
    return array(values, dtype)


ascontiguousarray = asarray


def asnumpy(values: Any, stream: object = None) -> Any:
    """A copy on the host."""
    return values.get() if isinstance(values, ndarray) else _numpy.asarray(values)


def get_default_memory_pool() -> MemoryPool:
    """The pool of the card's memory."""
    return _pool


def get_default_pinned_memory_pool() -> PinnedMemoryPool:
    """The pool of pinned memory."""
    return _pinned_pool


def __getattr__(name: str) -> Any:
    value = getattr(_numpy, name)
    return value if isinstance(value, type) or not callable(value) else on_card(value)
