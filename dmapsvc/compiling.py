"""How kernels are compiled: without the GIL, and kept on disk as long as the disk is any good.

What is compiled, and when a broken cache is given up, is decided elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from pathlib import Path
from types import CellType, FunctionType
from typing import Any

import numba

_keeping = ContextVar("keeping", default=True)
_njit: Any = partial(numba.njit, nogil=True, error_model="numpy")  # a check for x / 0 would bar vectors


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that only compiled ones call; it is kept on disk as a part of them."""
    dispatcher: Callable[..., Any] = _njit(function)
    return dispatcher


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`njit` that releases the GIL and keeps its machine code on disk where some folder can be written."""
    dispatcher: Callable[..., Any]
    try:
        dispatcher = _njit(cache=_keeping.get())(_tied_to_sources(function))
    except RuntimeError:  # numba found no folder for its cache
        dispatcher = _njit(function)
    return dispatcher


@contextmanager
def without_cache() -> Iterator[None]:
    """Functions that are `compiled` meanwhile neither read machine code from the disk nor write it there."""
    before = _keeping.set(False)
    try:
        yield
    finally:
        _keeping.reset(before)


def _tied_to_sources(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, its machine code to be forgotten when any module of its folder changes.

    numba looks for changes in the function's own file, and at what it closes over: here, at all sources.
    """
    code = function.__code__.replace(co_freevars=("sources",))
    sources = _sources(Path(code.co_filename).parent)
    return FunctionType(code, function.__globals__, closure=(CellType(sources),))


@cache
def _sources(folder: Path) -> str:
    digest = hashlib.sha256()
    for module in (Path(__file__), *sorted(folder.glob("*.py"))):
        digest.update(module.read_bytes())
    return digest.hexdigest()
