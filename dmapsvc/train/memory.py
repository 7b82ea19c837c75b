"""Which of PyTorch's errors say that memory is short; for most of them it has no class of their own."""

from __future__ import annotations

from typing import Literal

import torch

_MACHINE = ("DefaultCPUAllocator", "Storage size calculation overflowed")
_GPU = ("CUDA error: out of memory", "_STATUS_ALLOC_FAILED")


def short_memory(error: BaseException) -> Literal["machine", "gpu"] | None:
    """Whose memory was too small, if that is what `error` says."""
    said = str(error) if isinstance(error, RuntimeError) else ""
    if isinstance(error, torch.cuda.OutOfMemoryError) or any(words in said for words in _GPU):
        return "gpu"
    if isinstance(error, MemoryError) or any(words in said for words in _MACHINE):
        return "machine"
    return None
