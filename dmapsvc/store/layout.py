"""How a dataset lies in its folder: the metadata of its groups and arrays, as Zarr v3 and OME-Zarr 0.5 want
them.

Pure functions from records to JSON; nothing is read or written here.
`<dataset>.zarr/<case>/{image,label,phi}/0`: one shard an array, so that a patch costs two small reads and a
case is seven small files and three large ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from dmapsvc.spec import MapSpec, Quantisation, Spacing
from dmapsvc.store.record import CaseRecord

FORMAT = 1  # raised when an older reader could not read a newer dataset
KEY = "dmapsvc"  # the attribute under which our own records lie
NODE = "zarr.json"
ARRAYS = ("label", "phi", "image")

INNER = 32  # edge of an inner chunk: what one decode costs when a patch is read

# `python -m benchmarks.codecs` on Φ of a 384×384×160 knee (three bones, in voxels, 47 MB), one core:
#   lz4-5 22.3 MB, encodes 756 MB/s, decodes 1180 | zstd-1 15.3, 327, 683 | lz4hc-1 16.8, 290, 1244
#   lz4hc-5 14.2, 104, 1503
# A map is encoded once and decoded for every patch, so lz4hc; level 1, because level 5 saves 15 % of the disk
# for three times the time.
CODEC_NAME, CODEC_LEVEL = "lz4hc", 1


def inner_chunks(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Inner chunk of an array of `shape`, (z, y, x) or (c, z, y, x): 32³ voxels of one channel, less on short
    axes.
    """
    return (1,) * (len(shape) - 3) + tuple(min(INNER, length) for length in shape[-3:])


def chunk_grid(shape: tuple[int, ...]) -> tuple[int, ...]:
    """How many inner chunks an array of `shape` has along each axis."""
    return tuple(math.ceil(n / c) for n, c in zip(shape, inner_chunks(shape), strict=True))


def shard_key(shape: tuple[int, ...]) -> str:
    """Where the one shard of an array of `shape` lies, from the array's own folder."""
    return "/".join(("c", *("0" for _ in shape)))


def group_node(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of a group."""
    return {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}


def consolidated(case: Mapping[str, Any], nodes: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of a case's group with those of all below it, so that opening a case is one read."""
    flat: dict[str, Any] = {}
    for path in sorted(nodes):
        flat[path] = dict(nodes[path])
        if nodes[path]["node_type"] == "group":
            flat[path]["consolidated_metadata"] = _inline({})
    return {**case, "consolidated_metadata": _inline(flat)}


def array_node(
    shape: tuple[int, ...], dtype: DTypeLike, attributes: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Metadata of an array: one shard, inner chunks, compressed, each chunk and the shard's index under a
    crc32c.
    """
    kind = np.dtype(dtype)
    chunks = inner_chunks(shape)
    shard = [n * c for n, c in zip(chunk_grid(shape), chunks, strict=True)]
    crc: dict[str, Any] = {"name": "crc32c"}
    raw: dict[str, Any] = {"name": "bytes", "configuration": {"endian": "little"}}
    if kind.itemsize == 1:
        raw = {"name": "bytes"}
    blosc = {
        "typesize": kind.itemsize,
        "cname": CODEC_NAME,
        "clevel": CODEC_LEVEL,
        "shuffle": "shuffle",
        "blocksize": 0,
    }
    sharding = {
        "chunk_shape": list(chunks),
        "codecs": [raw, {"name": "blosc", "configuration": blosc}, crc],
        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, crc],
        "index_location": "end",
    }
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": kind.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shard}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0.0 if kind.kind == "f" else 0,
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "attributes": dict(attributes or {}),
        "dimension_names": list("czyx"[-len(shape) :]),
        "storage_transformers": [],
    }


def phi_attributes(step: Quantisation, spec: MapSpec) -> dict[str, Any]:
    """CF attributes of the array Φ: value = stored · `scale_factor` + `add_offset`, wrong by at most
    `max_error`.
    """
    return {
        "scale_factor": step.scale_factor,
        "add_offset": step.add_offset,
        "max_error": step.max_error,
        "units": "mm" if spec.units == "mm" else "1",
        "long_name": "error-penalising distance map",
    }


def ome_attributes(name: str, axes: int, spacing: Spacing | None) -> dict[str, Any]:
    """Attributes that make a group an OME-Zarr 0.5 image of one level with `axes` (3 or 4) axes."""
    spatial: list[dict[str, Any]] = [{"name": axis, "type": "space"} for axis in "zyx"]
    if spacing is not None:
        spatial = [{**axis, "unit": "millimeter"} for axis in spatial]
    channel: list[dict[str, Any]] = [{"name": "c", "type": "channel"}] * (axes - 3)
    scale = [1.0] * (axes - 3) + list(spacing or (1.0, 1.0, 1.0))
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}
    multiscales = [{"name": name, "axes": channel + spatial, "datasets": [level]}]
    return {"ome": {"version": "0.5", "multiscales": multiscales}}


def label_attributes(record: CaseRecord) -> dict[str, Any]:
    """Attributes of a case's label group: an OME-Zarr image that is also a label image."""
    attributes = ome_attributes("label", 3, record.spacing)
    regions = [{"label-value": region.value, "voxels": region.voxels} for region in record.regions]
    attributes["ome"]["image-label"] = {"properties": regions}
    return attributes


def dataset_attributes(spec: MapSpec, names: Mapping[int, str]) -> dict[str, Any]:
    """Attributes of a dataset's root group; `names` by label value."""
    record = {
        "format": FORMAT,
        "spec": spec.to_json(),
        "spec_hash": spec.hash,
        "names": {str(value): name for value, name in sorted(names.items())},
    }
    return {KEY: record}


def _inline(nodes: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": "inline", "must_understand": False, "metadata": dict(nodes)}
