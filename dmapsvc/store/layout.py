"""How a dataset lies in its folder: the metadata of its groups and arrays, as Zarr v3 and OME-Zarr 0.5 want
them.

Pure functions from records to JSON; nothing is read or written here.
`<dataset>.zarr/<case>/{image,label,phi}/0`: one shard an array, so that a patch costs two small reads and a
case is eight small files and three large ones; `<dataset>.zarr/<case>/positions` is one small chunk.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from dmapsvc.spec import MapSpec, Quantisation, Spacing
from dmapsvc.store.record import CaseRecord

FORMAT = 2  # raised when an older reader could not read a newer dataset, or a newer one an older
KEY = "dmapsvc"  # the attribute under which our own records lie
NODE = "zarr.json"
ARRAYS = ("label", "phi", "image")
POSITIONS = "positions"

POSITIONS_PER_LABEL = 4096  # a patch around one of so many is as good as one around any voxel of the label
POSITIONS_PER_CASE = 65_536  # what bounds the file: at most 400 kB before it is compressed
POSITIONS_SEED = 0
POSITIONS_CHUNK = "c/0/0"  # where its one chunk lies, from the array's own folder


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How an array is cut into inner chunks of `edge`³ voxels, and which blosc compressor packs each."""

    edge: int
    compressor: str
    level: int
    shuffle: Literal["shuffle", "bitshuffle"] = "shuffle"


# Chosen by `python -m benchmarks.codecs knee.nrrd --labels 5,6,7` on a 384×384×160 knee; its tables are in
# decision 3. A case is encoded once and decoded for every patch, so lz4, not zstd: of Φ, 47.2 MB, lz4hc-1
# makes 16.8 MB, encodes 324 and decodes 3192 MB/s a core; lz4hc-5 14.2, 114, 3644; zstd-2 13.5, 355, 1333.
# Decoding what a random 96³ patch touches of Φ takes 1.98 ms in 16³ chunks, 1.29 in 24³, 1.27 in 32³, 1.43 in
# 48³ and 1.87 in 64³. An image is noise in its low bits: bitshuffle parts them from those that compress, for
# 23.5 MB, not 26.5; of Φ it would make 24.1.
_MAP = Packing(edge=32, compressor="lz4hc", level=1)
PACKING = {
    "image": Packing(edge=32, compressor="lz4hc", level=1, shuffle="bitshuffle"),
    "label": _MAP,
    "phi": _MAP,
    POSITIONS: _MAP,
}


def inner_chunks(array: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Inner chunk of `array` of `shape`, (z, y, x) or (c, z, y, x): a cube of voxels of one channel, less on
    short axes.
    """
    edge = PACKING[array].edge
    return (1,) * (len(shape) - 3) + tuple(min(edge, length) for length in shape[-3:])


def chunk_grid(array: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """How many inner chunks `array` of `shape` has along each axis."""
    return tuple(math.ceil(n / c) for n, c in zip(shape, inner_chunks(array, shape), strict=True))


def shard_key(shape: tuple[int, ...]) -> str:
    """Where the one shard of an array of `shape` lies, from the array's own folder."""
    return "/".join(("c", *("0" for _ in shape)))


def image_arrays(record: CaseRecord) -> tuple[str, ...]:
    """Which of `ARRAYS` a case has."""
    return tuple(array for array in ARRAYS if array != "image" or record.image is not None)


def array_shape(record: CaseRecord, array: str) -> tuple[int, ...]:
    """Shape of one of a case's `image_arrays`: (z, y, x), or (c, z, y, x) of an image that has the axis."""
    if array == "image" and record.image is not None and record.image.axes == 4:
        return (record.image.channels, *record.shape)
    return record.shape


def recorded_type(record: CaseRecord, array: str) -> str | None:
    """The type of one of a case's `image_arrays`; None for the label's, of which the record says nothing."""
    if array == "image" and record.image is not None:
        return record.image.dtype
    return "uint16" if array == "phi" else None


def case_files(record: CaseRecord) -> tuple[str, ...]:
    """Every file of a published case, from the case's own folder: `zarr.json` first, then array by array."""
    files = [NODE]
    for array in image_arrays(record):
        shard = shard_key(array_shape(record, array))
        files += [f"{array}/{NODE}", f"{array}/0/{NODE}", f"{array}/0/{shard}"]
    files.append(f"{POSITIONS}/{NODE}")
    if position_counts(record):
        files.append(f"{POSITIONS}/{POSITIONS_CHUNK}")
    return tuple(files)


def position_counts(record: CaseRecord) -> tuple[tuple[int, int], ...]:
    """Label value and number of positions of each region but the background, in the order of the regions.

    Each label has as many as it has voxels, but at most its share: `POSITIONS_PER_LABEL`, less where a case
    has so many labels that they would be more than `POSITIONS_PER_CASE` together.
    """
    labels = [region for region in record.regions if region.value != 0]
    share = min(POSITIONS_PER_LABEL, POSITIONS_PER_CASE // max(1, len(labels)))
    return tuple((region.value, min(share, region.voxels)) for region in labels)


def positions_type(shape: tuple[int, ...]) -> np.dtype[np.unsignedinteger[Any]]:
    """uint16, or uint32 where a side of the volume asks for it."""
    return np.dtype(np.uint16 if max(shape) <= 65_535 else np.uint32)


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
    array: str, shape: tuple[int, ...], dtype: DTypeLike, attributes: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Metadata of one of `ARRAYS`: one shard, inner chunks, compressed, each chunk and the shard's index with
    a crc32c.
    """
    chunks = inner_chunks(array, shape)
    sharding = {
        "chunk_shape": list(chunks),
        "codecs": _codecs(array, np.dtype(dtype)),
        "index_codecs": [_LITTLE_ENDIAN, _CRC],
        "index_location": "end",
    }
    return _array_node(
        shape,
        np.dtype(dtype),
        chunks=tuple(n * c for n, c in zip(chunk_grid(array, shape), chunks, strict=True)),
        codecs=[{"name": "sharding_indexed", "configuration": sharding}],
        names=tuple("czyx"[-len(shape) :]),
        attributes=attributes or {},
    )


def positions_node(record: CaseRecord) -> dict[str, Any]:
    """Metadata of a case's positions: (n, 3) rows (z, y, x) in one chunk, by label as `labels` says."""
    counts = position_counts(record)
    rows, kind = sum(count for _, count in counts), positions_type(record.shape)
    return _array_node(
        (rows, 3),
        kind,
        chunks=(max(1, rows), 3),
        codecs=_codecs(POSITIONS, kind),
        names=("position", "axis"),
        attributes={"labels": [list(count) for count in counts], "seed": POSITIONS_SEED},
    )


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


_CRC: dict[str, Any] = {"name": "crc32c"}
_LITTLE_ENDIAN: dict[str, Any] = {"name": "bytes", "configuration": {"endian": "little"}}


def _codecs(array: str, kind: np.dtype[Any]) -> list[dict[str, Any]]:
    packing = PACKING[array]
    blosc = {
        "typesize": kind.itemsize,
        "cname": packing.compressor,
        "clevel": packing.level,
        "shuffle": packing.shuffle,
        "blocksize": 0,
    }
    raw = {"name": "bytes"} if kind.itemsize == 1 else _LITTLE_ENDIAN
    return [raw, {"name": "blosc", "configuration": blosc}, _CRC]


def _array_node(
    shape: tuple[int, ...],
    kind: np.dtype[Any],
    *,
    chunks: tuple[int, ...],
    codecs: list[dict[str, Any]],
    names: tuple[str, ...],
    attributes: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": kind.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunks)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0.0 if kind.kind == "f" else 0,
        "codecs": codecs,
        "attributes": dict(attributes),
        "dimension_names": list(names),
        "storage_transformers": [],
    }


def _inline(nodes: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": "inline", "must_understand": False, "metadata": dict(nodes)}
