"""How kernels are compiled: without the GIL, and kept on disk as long as the disk is any good.

What is compiled, and when a broken cache is given up, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numba

_keeping = ContextVar("keeping", default=True)


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`njit` that releases the GIL and keeps its machine code on disk where some folder can be written."""

    def compiling(function: Callable[..., Any]) -> Callable[..., Any]:
        dispatcher: Callable[..., Any]
        try:
            dispatcher = numba.njit(nogil=True, cache=_keeping.get(), **options)(function)
        except RuntimeError:  # numba found no folder for its cache
            dispatcher = numba.njit(nogil=True, **options)(function)
        return dispatcher

    return compiling


@contextmanager
def without_cache() -> Iterator[None]:
    """Functions that are `compiled` meanwhile neither read machine code from the disk nor write it there."""
    before = _keeping.set(False)
    try:
        yield
    finally:
        _keeping.reset(before)
