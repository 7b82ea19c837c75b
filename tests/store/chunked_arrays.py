"""Arrays in the layout that compiled code reads, written by the store and by zarr."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import LocalStore

from dmapsvc.store.chunked import ChunkedArray
from dmapsvc.store.files import read_json
from dmapsvc.store.layout import NODE, array_node, shard_key
from dmapsvc.store.libraries import functions
from dmapsvc.store.shard import write_shard
from dmapsvc.store.sharding import known_sharding


def write_by_store(folder: Path, values: NDArray[Any], array: str = "image") -> Path:
    """As the store does; the path of the shard."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NODE).write_text(json.dumps(array_node(array, values.shape, values.dtype)))
    path = folder / shard_key(values.shape)
    write_shard(path, array, values, lambda voxels: None)
    return path


def write_by_zarr(folder: Path, values: NDArray[Any], chunks: tuple[int, ...], **packing: Any) -> Path:
    """With other chunks, in zarr's own order, and another `packing` of blosc; the path of the shard."""
    array = zarr.create_array(
        LocalStore(folder),
        shape=values.shape,
        dtype=values.dtype,
        chunks=chunks,
        shards=tuple(-(-n // side) * side for n, side in zip(values.shape, chunks, strict=True)),
        filters=None,
        compressors=(BloscCodec(**packing), Crc32cCodec()),
        config={"write_empty_chunks": True},
        overwrite=True,
    )
    array[...] = values
    return folder / shard_key(values.shape)


def open_array(folder: Path, *, verify: bool = True) -> ChunkedArray:
    """The array in `folder`, called the image of case a."""
    sharding, libraries = known_sharding(read_json(folder / NODE)), functions()
    assert sharding is not None
    assert libraries is not None
    return ChunkedArray(folder, sharding, libraries, "case 'a': image", verify=verify)


def overlap(
    corner: tuple[int, ...], sides: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """What of a box lies in a volume: slices of the box, and of the volume."""
    in_box, in_volume = [], []
    for edge, side, length in zip(corner, sides, shape, strict=True):
        voxels = [place for place in range(side) if 0 <= edge + place < length]
        low, high = (voxels[0], voxels[-1] + 1) if voxels else (0, 0)
        in_box.append(slice(low, high))
        in_volume.append(slice(edge + low, edge + high) if voxels else slice(0, 0))
    return tuple(in_box), tuple(in_volume)


def whole(array: ChunkedArray, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """All of an image, (c, z, y, x), as it is stored."""
    out = np.empty(shape, np.float32)
    ones = np.ones(shape[0], np.float32)
    array.read_image((0, 0, 0), out, ones, np.zeros_like(ones))
    return out
