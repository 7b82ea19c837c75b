"""Whether what lies on disk is whole, its metadata and every checksum: yes or no.

What exactly is wrong, and whether the voxels are those of the record, is `check.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dmapsvc.errors import Damaged
from dmapsvc.store import layout
from dmapsvc.store.files import read_json
from dmapsvc.store.positions import read_positions
from dmapsvc.store.record import CaseRecord
from dmapsvc.store.writing import verify_group

_BROKEN = (Damaged, FileNotFoundError, AttributeError, KeyError, TypeError, ValueError)


def is_sound_group(group: Path, array: str) -> bool:
    """Whether the group of an array has its metadata, and every checksum of the array is right."""
    try:
        read_json(group / layout.NODE)["attributes"]["ome"]
        verify_group(group, array)
    except _BROKEN:
        return False
    return True


def is_sound_array(case: Path, array: str) -> bool:
    """Whether an array of the case in the folder `case` is sound, the copy of its metadata included."""
    try:
        copies = read_json(case / layout.NODE)["consolidated_metadata"]["metadata"]
        group, node = (read_json(case / path / layout.NODE) for path in (array, f"{array}/0"))
        copied = is_copied(copies, array, group, node)
    except _BROKEN:
        return False
    return copied and is_sound_group(case / array, array)


def is_sound_case(case: Path, record: CaseRecord) -> bool:
    """Whether every array that `record` mentions is sound."""
    arrays = layout.image_arrays(record)
    return are_sound_positions(case, record) and all(is_sound_array(case, array) for array in arrays)


def are_sound_positions(case: Path, record: CaseRecord) -> bool:
    """Whether the positions of the case in the folder `case` are sound, their metadata copied."""
    try:
        copies = read_json(case / layout.NODE)["consolidated_metadata"]["metadata"]
        node = read_json(case / layout.POSITIONS / layout.NODE)
        read_positions(case, record, layout.POSITIONS)
        return bool(copies[layout.POSITIONS] == node == layout.positions_node(record))
    except _BROKEN:
        return False


def is_copied(copies: Mapping[str, Any], array: str, group: object, node: object) -> bool:
    """Whether a case's `copies` hold the metadata of the `group` and the `node` of an array."""
    copied = {key: value for key, value in copies.get(array, {}).items() if key != "consolidated_metadata"}
    return bool(copied == group and copies.get(f"{array}/0") == node)
