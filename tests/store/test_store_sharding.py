"""Which metadata are those of an array that compiled code may read."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from dmapsvc.store.layout import array_node
from dmapsvc.store.sharding import known_sharding

SHARDING = ("codecs", 0, "configuration")
CODEC = (*SHARDING, "codecs")


def test_the_stores_own_arrays_are_known() -> None:
    image = known_sharding(array_node("image", (2, 70, 20, 33), "int16"))
    assert tuple(image or ()) == (np.int16, (2, 70, 20, 33), (1, 32, 20, 32), (2, 3, 1, 2))
    assert known_sharding(array_node("label", (70, 20, 33), np.uint8))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("data_type",), "float16"),
        (("data_type",), "numpy.datetime64"),
        (("data_type",), {"name": "int16"}),
        (("shape",), [70, 20]),
        (("shape",), [70, 20, 0]),
        (("shape",), [97, 20, 33]),
        (("chunk_grid", "name"), "rectilinear"),
        (("chunk_key_encoding", "configuration", "separator"), "."),
        (("storage_transformers",), [{"name": "other"}]),
        (("codecs", 0, "name"), "transpose"),
        (("codecs",), [{"name": "bytes"}]),
        (("codecs",), []),
        ((*SHARDING, "index_location"), "start"),
        ((*SHARDING, "chunk_shape"), [0, 20, 32]),
        ((*SHARDING, "chunk_shape"), [31, 20, 32]),
        ((*SHARDING, "chunk_shape"), "32"),
        ((*CODEC, 0, "configuration", "endian"), "big"),
        ((*CODEC, 1, "name"), "zstd"),
        ((*CODEC, 2), {"name": "gzip"}),
        (CODEC, [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "blosc"}]),
        ((*SHARDING, "index_codecs"), [{"name": "bytes", "configuration": {"endian": "little"}}]),
        ((*SHARDING, "index_codecs", 0, "configuration", "endian"), "big"),
    ],
)
def test_any_other_layout_is_left_to_zarr(path: tuple[str | int, ...], value: object) -> None:
    node = copy.deepcopy(array_node("image", (70, 20, 33), "int16"))
    assert known_sharding(node)
    place: Any = node
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert known_sharding(node) is None
