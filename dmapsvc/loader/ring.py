"""Memory that is used again and again, so that no batch costs the system fresh pages.

A batch's tensors share memory with arrays of a ring; when the last tensor that shares one is gone, whoever
held it, the array is filled anew.
"""

from __future__ import annotations

import math
import os
import threading
import weakref
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


class Ring:
    """Memory of one shape and dtype, handed out as CPU tensors and taken back by itself.

    Up to `keep` arrays wait for their next use; handing out never waits, so tensors that a user keeps cost
    memory and are never overwritten. `pinned`: PyTorch's own allocator of page-locked memory, which works the
    same way and minds copies to a device that are under way.
    """

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, *, keep: int, pinned: bool) -> None:
        self.shape, self.dtype = shape, dtype
        self._keep, self._pinned = keep, pinned
        self._free: list[NDArray[Any]] = []
        self._process = os.getpid()
        self._lock = threading.RLock()  # a tensor may be collected, and give back, while it is held

    def take(self) -> Tensor:
        """A tensor of unset values that nobody else holds."""
        if self._pinned:
            return torch.empty(self.shape, dtype=self.dtype, device="cpu", pin_memory=True)
        with self._lock:
            memory = (
                self._free.pop()
                if self._free
                else torch.empty(self.shape, dtype=self.dtype, device="cpu").numpy()
            )
        lent = memory.view()  # lives as long as any tensor that shares it
        weakref.finalize(lent, self._give_back, memory).atexit = False
        return torch.from_numpy(lent)

    def _give_back(self, memory: NDArray[Any]) -> None:
        if os.getpid() != self._process:  # a fork, in which a thread that is not there may hold the lock
            return
        with self._lock:
            if len(self._free) < self._keep:
                self._free.append(memory)


class Scratch:
    """One thread's memory for what it reads and does not hand out; grows to the largest asked for.

    `pinned`: fresh page-locked memory each time, as copies to a device may be under way.
    """

    def __init__(self, *, pinned: bool) -> None:
        self._pinned = pinned
        self._memory: dict[str, Tensor] = {}

    def take(self, use: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A tensor of unset values; the one taken before for the same `use` is overwritten with it."""
        if self._pinned:
            return torch.empty(shape, dtype=dtype, device="cpu", pin_memory=True)
        memory = self._memory.get(use)
        if memory is None or len(memory) < math.prod(shape):
            memory = self._memory[use] = torch.empty(math.prod(shape), dtype=dtype, device="cpu")
        return memory[: math.prod(shape)].view(shape)
