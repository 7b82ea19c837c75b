"""Kernels as CuPy compiles them from source, compiled for the host instead, by the `ziglang` package.

Compiled libraries are kept in the folder for temporary files, by what went into them.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ._array import ndarray
from ._card import check, run_kernel
from ._memory import MemoryPointer, check_guards
from ._stream import Stream, get_current_stream

_HEADER = Path(__file__).with_name("host.h")
_FLAGS = ("-x", "c++", "-std=c++17", "-O2", "-shared", "-fPIC", "-mcpu=baseline", "-Wall", "-Werror")
_MOST_PARAMETERS = 32


class RawModule:
    """Source with `__global__` functions. `backwards`: run threads and blocks from the last to the first."""

    backwards = False

    def __init__(self, *, code: str, options: tuple[str, ...] = (), backend: str = "nvrtc") -> None:
        assert "#include" not in code, "NVRTC has no headers of the host"
        self._code, self._options = code, options

    def get_function(self, name: str) -> RawKernel:
        check()
        return RawKernel(self._library, name)

    @cached_property
    def _library(self) -> ctypes.CDLL:
        return _compiled(self._code, self._options)


class RawKernel:
    """One function of a module."""

    def __init__(self, library: ctypes.CDLL, name: str) -> None:
        self._launch = getattr(library, f"launch_{name}")
        self._name = name
        sizes = (ctypes.c_int * _MOST_PARAMETERS)()
        self._sizes = sizes[: getattr(library, f"sizes_{name}")(sizes)]

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: tuple[Any, ...],
        shared_mem: int = 0,
        stream: Stream | None = None,
    ) -> None:
        dims = np.array([*_three(grid), *_three(block)], np.uint32)
        assert dims[0] < 2**31, "a grid has fewer blocks"
        assert (dims[[1, 2]] < 2**16).all(), "a grid has fewer blocks"
        assert dims[3:].prod() <= 1024, "a block has fewer threads"
        values = [_value(argument) for argument in args]
        found = [value.nbytes for value in values]
        assert found == self._sizes, f"{self._name} takes parameters of {self._sizes} bytes, not {found}"

        def launch() -> None:
            run_kernel()
            pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
            backwards = ctypes.c_bool(RawModule.backwards)
            self._launch(ctypes.c_void_p(dims.ctypes.data), pointers, backwards)
            check_guards()
            del keep[:]

        keep = list(args)  # as the pool of CuPy does: memory that is freed is not used again before this ran
        (stream or get_current_stream()).enqueue(launch)


def _three(dims: tuple[int, ...]) -> tuple[int, ...]:
    return (*dims, 1, 1)[:3]


def _value(argument: Any) -> Any:
    """An argument as bytes: an array of one number."""
    if isinstance(argument, MemoryPointer):
        return np.array([argument.ptr], np.uintp)
    if isinstance(argument, ndarray):
        return np.array([argument.host.ctypes.data], np.uintp)
    assert isinstance(argument, np.generic), f"{argument!r}: a Python number says nothing of its size"
    return np.array([argument])


@cache
def _compiled(code: str, options: tuple[str, ...]) -> ctypes.CDLL:
    names = re.findall(r"__global__\s+void\s+(\w+)", code)
    source = "\n".join([_HEADER.read_text(), code, *(f"LAUNCHER({name})" for name in names)])
    key = hashlib.sha256(repr((source, options, _FLAGS, version("ziglang"))).encode()).hexdigest()
    folder = Path(tempfile.gettempdir()) / f"dmapsvc-fake-gpu-{os.getuid()}"
    library = folder / f"{key}.so"
    if not library.exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as place:
            unit, made = Path(place) / "kernels.cpp", Path(place) / "kernels.so"
            unit.write_text(source)
            command = [sys.executable, "-m", "ziglang", "cc", *_FLAGS, *options, str(unit), "-o", str(made)]
            caches = {"ZIG_GLOBAL_CACHE_DIR": str(folder / "zig"), "ZIG_LOCAL_CACHE_DIR": str(folder / "zig")}
            subprocess.run(command, check=True, env={**os.environ, **caches})
            made.replace(library)
    return ctypes.CDLL(str(library))
