"""crc32c as Zarr v3 keeps it: four bytes, little endian, behind what they guard."""

from __future__ import annotations

from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from dmapsvc.store.libraries import checksum

CRC_BYTES = 4


def seal(payload: bytes) -> bytes:
    """`payload` with its checksum behind it."""
    return payload + _kept(google_crc32c.value(payload))


def unseal(sealed: memoryview) -> memoryview | None:
    """What was sealed; None if it is not what it was."""
    whole = np.array([[0, len(sealed)]])
    return sealed[:-CRC_BYTES] if first_broken(np.frombuffer(sealed, np.uint8), whole) is None else None


def first_broken(data: NDArray[np.uint8], places: NDArray[np.integer[Any]]) -> int | None:
    """The first of what was sealed that is not what it was; None if all is.

    `places`: rows of offset and length, all within `data`, which lies in one piece. Nothing is copied, and
    the GIL is released, where the library's own function can be called.
    """
    extend, base, view = checksum(), data.ctypes.data, data.data
    for number, (start, length) in enumerate(places.tolist()):
        size = length - CRC_BYTES
        end = start + size
        if size < 0:
            return number
        crc = extend(0, base + start, size) if extend else google_crc32c.value(bytes(view[start:end]))
        if _kept(crc) != view[end : end + CRC_BYTES]:
            return number
    return None


def _kept(crc: int) -> bytes:
    return crc.to_bytes(CRC_BYTES, "little")
