"""Writing a case, or an image, into a folder that nobody reads yet.

Checksums are read back as they lie in the file. Flushing to disk is left to `files.flush_tree`, once all is
there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmapsvc.store import layout
from dmapsvc.store.files import flush_tree, read_json, write_json
from dmapsvc.store.positions import draw_positions, read_positions, write_positions
from dmapsvc.store.record import CaseRecord, ImageRecord
from dmapsvc.store.shard import Shard, write_shard

Progress = Callable[[float], None]


def write_maps(
    folder: Path, record: CaseRecord, label: NDArray[Any], phi: NDArray[np.uint16], progress: Progress
) -> None:
    """Write the groups `label` and `phi` of a case, both (z, y, x), and its positions, into the new folder
    `folder`.
    """
    total, done = 2 * label.size, 0

    def advance(voxels: int) -> None:
        nonlocal done
        done += voxels
        progress(done / total)

    folder.mkdir()
    _write_group(folder, "label", layout.label_attributes(record), label, {}, advance)
    ome = layout.ome_attributes("phi", 3, record.spacing)
    attributes = layout.phi_attributes(record.quantisation, record.spec)
    _write_group(folder, "phi", ome, phi, attributes, advance)
    _write_positions(folder, record, label)


def write_image(folder: Path, record: ImageRecord, image: NDArray[Any]) -> None:
    """Write the group of an image, (z, y, x) or (c, z, y, x), as `image` in the folder `folder`."""
    attributes = layout.ome_attributes("image", image.ndim, record.spacing)
    attributes[layout.KEY] = record.to_json()
    _write_group(folder, "image", attributes, image, {}, lambda voxels: None)
    flush_tree(folder / "image")


def verify_group(folder: Path, array: str) -> None:
    """Check every checksum of `array`, whose group lies in `folder`; raises Damaged, FileNotFoundError,
    ValueError.
    """
    node = read_json(folder / "0" / layout.NODE)
    shape = tuple(node["shape"])
    Shard(folder / "0" / layout.shard_key(shape), array, shape, node["data_type"], array).verify()


def case_node(folder: Path, record: CaseRecord) -> dict[str, Any]:
    """Metadata of the case's group: its record, and a copy of those of its arrays as they lie in `folder`."""
    paths = [path for array in layout.image_arrays(record) for path in (array, f"{array}/0")]
    paths.append(layout.POSITIONS)
    nodes = {path: read_json(folder / path / layout.NODE) for path in paths}
    return layout.consolidated(layout.group_node({layout.KEY: record.to_json()}), nodes)


def _write_positions(folder: Path, record: CaseRecord, label: NDArray[Any]) -> None:
    """Write the positions of a case and verify them as they lie on disk."""
    array = folder / layout.POSITIONS
    array.mkdir()
    write_json(array / layout.NODE, layout.positions_node(record))
    write_positions(array, draw_positions(label, record))
    read_positions(folder, record, layout.POSITIONS)


def _write_group(
    folder: Path,
    array: str,
    attributes: Mapping[str, Any],
    values: NDArray[Any],
    array_attributes: Mapping[str, Any],
    progress: Callable[[int], None],
) -> None:
    """Write an OME-Zarr image of one level and verify it as it lies on disk."""
    group = folder / array
    level = group / "0"
    level.mkdir(parents=True)
    write_json(group / layout.NODE, layout.group_node(attributes))
    write_json(level / layout.NODE, layout.array_node(array, values.shape, values.dtype, array_attributes))
    write_shard(level / layout.shard_key(values.shape), array, values, progress)
    verify_group(group, array)
