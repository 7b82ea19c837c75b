"""Gzip is inflated by isal: whatever was done to a stream, it gives what zlib gives, and refuses what zlib
refuses.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmapsvc.errors import BadFile
from dmapsvc.volumes.source import Body, open_source

Damage = Callable[[bytes], bytes]

positions = st.floats(0, 1, exclude_max=True)
damages: st.SearchStrategy[Damage] = st.one_of(
    st.just(lambda stream: stream),
    positions.map(lambda part: lambda stream: stream[: int(part * len(stream))]),
    st.tuples(positions, st.integers(0, 7)).map(lambda at: lambda stream: flipped(stream, *at)),
    st.binary(max_size=40).map(lambda more: lambda stream: stream + more),
    st.integers(0, 600).map(lambda zeros: lambda stream: stream + bytes(zeros)),
    st.binary(max_size=90).map(lambda more: lambda stream: stream + gzip.compress(more)),
    st.tuples(st.binary(max_size=90), positions).map(
        lambda cut: lambda stream: stream + gzip.compress(cut[0])[: int(cut[1] * 20)]
    ),
)


def flipped(stream: bytes, part: float, bit: int) -> bytes:
    content = bytearray(stream)
    content[int(part * len(content))] ^= 1 << bit
    return bytes(content)


def inflated(stream: bytes) -> bytes | None:
    """By the standard library; None if it refuses."""
    try:
        return gzip.decompress(stream)
    except (OSError, EOFError, zlib.error):
        return None


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 99),
    size=st.integers(1, 4000),
    level=st.integers(0, 9),
    split=positions,
    damage=damages,
)
def test_a_stream_gives_what_zlib_gives_or_is_refused(
    tmp_path: Path, seed: int, size: int, level: int, split: float, damage: Damage
) -> None:
    runs = np.random.default_rng(seed).integers(0, 4, size // 7 + 1, np.uint8)
    content = np.repeat(runs, 7)[:size].tobytes()
    members = (content[: int(split * size)], content[int(split * size) :])
    stream = damage(b"".join(gzip.compress(member, level) for member in members))
    (tmp_path / "a.gz").write_bytes(stream)
    expected = inflated(stream)
    with open_source(tmp_path / "a.gz", None) as source:
        body = Body(compression="gzip", offset=0, size=size)
        if expected is not None and len(expected) >= size:
            assert body.read(source).tobytes() == expected[:size]
            return
    with pytest.raises(BadFile, match=r"^a\.gz: "), open_source(tmp_path / "a.gz", None) as source:
        body.read(source)
