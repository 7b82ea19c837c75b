"""Writing a case, or an image, into a folder that nobody reads yet.

Everything written is flushed to disk and its checksums are read back, so that publishing it is a rename and
no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dmapsvc.spec import Quantisation
from dmapsvc.store import layout
from dmapsvc.store.files import flush_tree, read_json, write_json
from dmapsvc.store.record import CaseRecord, ImageRecord
from dmapsvc.store.shard import Shard, write_shard

Progress = Callable[[float], None]


def quantise(phi: NDArray[np.float32], step: Quantisation) -> NDArray[np.uint16]:
    """Φ as it is stored: the nearest step, uint16, in the shape of `phi`."""
    steps: NDArray[np.float32] = (phi - np.float32(step.add_offset)) / np.float32(step.scale_factor)
    return np.rint(steps).astype(np.uint16)


def dequantise(stored: NDArray[np.uint16], step: Quantisation) -> NDArray[np.float32]:
    """Φ from what is stored: float32, wrong by at most `step.max_error`."""
    phi = stored.astype(np.float32)
    phi *= np.float32(step.scale_factor)
    if step.add_offset:
        phi += np.float32(step.add_offset)
    return phi


def write_maps(
    folder: Path, record: CaseRecord, label: NDArray[Any], phi: NDArray[np.float32], progress: Progress
) -> None:
    """Write the groups `label` and `phi` of a case, both (z, y, x), into the new folder `folder`."""
    total, done = 2 * label.size, 0

    def advance(voxels: int) -> None:
        nonlocal done
        done += voxels
        progress(done / total)

    def stored(slab: NDArray[np.float32]) -> NDArray[np.uint16]:
        return quantise(slab, record.quantisation)

    folder.mkdir()
    _write_group(
        folder / "label", layout.label_attributes(record), label, label.dtype, {}, _as_it_is, advance
    )
    ome = layout.ome_attributes("phi", 3, record.spacing)
    attributes = layout.phi_attributes(record.quantisation, record.spec)
    _write_group(folder / "phi", ome, phi, np.uint16, attributes, stored, advance)
    flush_tree(folder)


def write_image(folder: Path, record: ImageRecord, image: NDArray[Any]) -> None:
    """Write the group of an image, (z, y, x) or (c, z, y, x), as the new folder `folder`."""
    attributes = layout.ome_attributes("image", image.ndim, record.spacing)
    attributes[layout.KEY] = record.to_json()
    _write_group(folder, attributes, image, image.dtype, {}, _as_it_is, lambda voxels: None)
    flush_tree(folder)


def verify_group(folder: Path, what: str) -> None:
    """Check every checksum of the array in a group; raises Damaged, FileNotFoundError, ValueError."""
    node = read_json(folder / "0" / layout.NODE)
    shape = tuple(node["shape"])
    Shard(folder / "0" / layout.shard_key(shape), shape, node["data_type"], what).verify()


def case_node(folder: Path, record: CaseRecord) -> dict[str, Any]:
    """Metadata of the case's group: its record, and a copy of those of its arrays as they lie in `folder`."""
    arrays = [name for name in layout.ARRAYS if name != "image" or record.image is not None]
    paths = [path for name in arrays for path in (name, f"{name}/0")]
    nodes = {path: read_json(folder / path / layout.NODE) for path in paths}
    return layout.consolidated(layout.group_node({layout.KEY: record.to_json()}), nodes)


def _write_group(
    folder: Path,
    attributes: Mapping[str, Any],
    values: NDArray[Any],
    dtype: DTypeLike,
    array_attributes: Mapping[str, Any],
    convert: Callable[[NDArray[Any]], NDArray[Any]],
    progress: Callable[[int], None],
) -> None:
    """Write an OME-Zarr image of one level and verify it as it lies on disk."""
    array = folder / "0"
    array.mkdir(parents=True)
    write_json(folder / layout.NODE, layout.group_node(attributes))
    write_json(array / layout.NODE, layout.array_node(values.shape, dtype, array_attributes))
    write_shard(array / layout.shard_key(values.shape), values, dtype, convert, progress)
    verify_group(folder, folder.name)


def _as_it_is(slab: NDArray[Any]) -> NDArray[Any]:
    return slab
