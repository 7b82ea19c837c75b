"""crc32c as Zarr v3 keeps it: four bytes, little endian, behind what they guard."""

from __future__ import annotations

import google_crc32c

CRC_BYTES = 4


def seal(payload: bytes) -> bytes:
    """`payload` with its checksum behind it."""
    return payload + _crc(payload)


def unseal(sealed: memoryview) -> memoryview | None:
    """What was sealed; None if it is not what it was."""
    payload = sealed[:-CRC_BYTES]
    return payload if _crc(payload) == sealed[-CRC_BYTES:] else None


def _crc(payload: bytes | memoryview) -> bytes:
    return int(google_crc32c.value(bytes(payload))).to_bytes(CRC_BYTES, "little")
