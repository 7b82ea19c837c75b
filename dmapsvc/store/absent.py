"""What lies in place of a case's `zarr.json`, in a bucket, while the case is not there: a claim on its place.

S3 cannot delete on a condition, but can write on one. So a `zarr.json` is never deleted to publish a case; it
is overwritten by a claim that no other process ever writes, and the next must name that claim to follow it.
"""

from __future__ import annotations

import uuid

_WORD = b"absent "
CLAIM_SIZE = len(_WORD) + 32  # bytes; no zarr.json of a case is as short


def new_claim() -> bytes:
    """A claim that was never written before."""
    return _WORD + uuid.uuid4().hex.encode()


def is_claim(content: bytes) -> bool:
    """Whether `content` of a `zarr.json` says that nothing is published."""
    return len(content) == CLAIM_SIZE and content.startswith(_WORD)
