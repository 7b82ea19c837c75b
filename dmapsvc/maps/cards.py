"""GPUs as CuPy sees them: is there one, what is free on it, and CuPy's errors in the words of this project.

CuPy is imported by whoever asks about a card, not before: most machines have none. What is computed on a card
is in the backends.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from dmapsvc.errors import DeviceFailed, DeviceFull, DeviceLost, DeviceMissing

_EXTRA = "install the extra gpu-cu12 or gpu-cu13, by the CUDA version of its driver"
_NO_DEVICE = 100  # cudaErrorNoDevice
_NO_MEMORY = 2  # cudaErrorMemoryAllocation and CUDA_ERROR_OUT_OF_MEMORY, pinned memory of the host included


def require_card() -> None:
    """Make sure that CuPy is installed and finds a GPU.

    Raises DeviceMissing where one of them is not there, as on most machines, and DeviceFailed where they are
    and do not go together.
    """
    if find_spec("cupy") is None:
        raise DeviceMissing("CuPy is not installed", remedy=f"For a GPU, {_EXTRA}")
    import cupy

    # neither cucim.is_available(), true without any GPU, nor CuPy's, which hides why there is none
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        if error.status != _NO_DEVICE and cupy.cuda.runtime.driverGetVersion():
            raise DeviceFailed(
                f"CuPy cannot use the GPU: {error}", remedy=f"See nvidia-smi; {_EXTRA}"
            ) from error
        count = 0
    if not count:
        raise DeviceMissing("CuPy finds no GPU", remedy="See nvidia-smi, and CUDA_VISIBLE_DEVICES")


def free_memory() -> int:
    """Bytes of the current card that can be had now, those that CuPy keeps for reuse included.

    Raises DeviceLost, DeviceFailed.
    """
    import cupy

    with card_errors():
        free, _ = cupy.cuda.runtime.memGetInfo()
        return int(free) + int(cupy.get_default_memory_pool().free_bytes())


def total_memory() -> int:
    """Bytes of the current card; raises DeviceLost, DeviceFailed."""
    import cupy

    with card_errors():
        return int(cupy.cuda.runtime.memGetInfo()[1])


def card_name() -> str:
    """What its maker calls the current card; raises DeviceLost, DeviceFailed."""
    import cupy

    with card_errors():
        name: bytes = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())["name"]
        return name.decode(errors="replace")


def shortage(needed: int) -> str | None:
    """Why a volume that takes `needed` bytes is not for the card now; None if it is.

    Raises DeviceLost, DeviceFailed.
    """
    free = free_memory()
    if needed <= free:
        return None
    return f"it takes about {_gibibytes(needed)} of the GPU's memory, of which {_gibibytes(free)} are free"


@contextmanager
def card_errors() -> Iterator[None]:
    """What CuPy raises in the block, as DeviceFull, DeviceLost or DeviceFailed.

    An error of CUDA that is repeated by the next call, whatever that is, has broken the context.
    """
    import cupy

    try:
        yield
    except cupy.cuda.memory.OutOfMemoryError as error:
        cupy.get_default_memory_pool().free_all_blocks()
        raise _full(error) from error
    except (cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.driver.CUDADriverError) as error:
        try:
            cupy.cuda.Device().synchronize()
        except Exception:
            raise DeviceLost(
                f"the GPU's context broke: {error}",
                remedy="A new process can use it again; if that breaks too, see what the driver says (dmesg)",
            ) from error
        if error.status == _NO_MEMORY:
            raise _full(error) from error
        raise DeviceFailed(f"the GPU failed: {error}") from error


def _full(error: Exception) -> DeviceFull:
    return DeviceFull(
        f"the GPU's memory ran out: {error}", remedy="Choose 'auto', or wait until some is free"
    )


def _gibibytes(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
