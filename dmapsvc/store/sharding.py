"""Whether an array's metadata say that it is written as the store writes arrays, and how it then lies in its
shard.

Edges of chunks and blosc's compressor may be others; type, order of bytes, codecs and one shard may not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

_NUMBERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")
_LARGEST_CHUNK = 2**31 - 1 - 16  # bytes: what one blosc buffer holds
_KEYS = {"name": "default", "configuration": {"separator": "/"}}


class Sharding(NamedTuple):
    """How an array lies in its one shard: its type, and its, a chunk's and the grid's lengths."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    sides: tuple[int, ...]
    grid: tuple[int, ...]


def known_sharding(node: Mapping[str, Any]) -> Sharding | None:
    """How the array with the metadata `node` lies in its shard; None if it is not written so."""
    try:
        return _sharding(node)
    except (KeyError, TypeError, ValueError):  # something is missing, or there is more than we know
        return None


def _sharding(node: Mapping[str, Any]) -> Sharding | None:
    (outer,) = node["codecs"]
    inner = outer["configuration"]
    dtype = np.dtype(node["data_type"]).newbyteorder("<")
    shape, sides = _lengths(node["shape"]), _lengths(inner["chunk_shape"])
    shard = _lengths(node["chunk_grid"]["configuration"]["chunk_shape"])
    known = (
        node["data_type"] in _NUMBERS
        and dtype.isnative
        and len(shape) in (3, 4)
        and node["chunk_grid"]["name"] == "regular"
        and node["chunk_key_encoding"] == _KEYS
        and not node.get("storage_transformers")
        and outer["name"] == "sharding_indexed"
        and inner.get("index_location", "end") == "end"
        and _names(inner["codecs"]) == ["bytes", "blosc", "crc32c"]
        and _names(inner["index_codecs"]) == ["bytes", "crc32c"]
        and (dtype.itemsize == 1 or _is_little(inner["codecs"][0]))
        and _is_little(inner["index_codecs"][0])
        and all(0 < n <= m for n, m in zip(shape, shard, strict=True))
        and all(n > 0 and m % n == 0 for n, m in zip(sides, shard, strict=True))
        and math.prod(sides) * dtype.itemsize <= _LARGEST_CHUNK
    )
    grid = tuple(m // n for n, m in zip(sides, shard, strict=True)) if known else ()
    return Sharding(dtype, shape, sides, grid) if known else None


def _lengths(lengths: Sequence[Any]) -> tuple[int, ...]:
    return tuple(int(length) for length in lengths)


def _names(codecs: Sequence[Mapping[str, Any]]) -> list[str]:
    return [codec["name"] for codec in codecs]


def _is_little(codec: Mapping[str, Any]) -> bool:
    return bool(codec["configuration"]["endian"] == "little")
