"""Whether a dataset holds what it promises: every byte of every shard, and every record against its voxels.

It changes nothing. A case that is replaced while it is looked at is looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmapsvc.errors import Damaged, NotFound
from dmapsvc.spec import MapSpec, check_name
from dmapsvc.store import layout
from dmapsvc.store.dataset import Dataset
from dmapsvc.store.files import read_json
from dmapsvc.store.positions import read_positions
from dmapsvc.store.record import CaseRecord, ImageRecord
from dmapsvc.store.shard import REMEDY, Shard
from dmapsvc.store.sound import is_copied
from dmapsvc.store.voxels import image_faults, misplaced, voxel_faults
from dmapsvc.store.writable import WritableDataset


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is not as it should be: in which case and array (None: the whole), and what to do."""

    case: str | None
    array: str | None
    found: str
    remedy: str


def check(
    dataset: WritableDataset | Path,
    case: str | None = None,
    *,
    on_case: Callable[[str], None] = lambda case: None,
) -> Iterator[Finding]:
    """Look at every case of a dataset, or at one; yields what is wrong, nothing if all is well.

    A case in a bucket is fetched for it. `on_case` gets the name of each case when its turn has come.

    Raises NotFound if there is no such dataset or case, Damaged if the dataset's own metadata cannot be read.
    """
    reader = Dataset(dataset) if isinstance(dataset, Path) else dataset
    if case is not None:
        if check_name(case, "case") not in reader:
            raise NotFound(f"case {case!r}", f"there is none of that name in dataset {reader.name!r}")
        yield from _check_settled(reader, case)
        return
    for name in reader.strays():
        yield Finding(case=None, array=None, found=f"{name} is no part of the dataset", remedy="Remove it")
    for name in reader.cases():
        on_case(name)
        yield from _check_settled(reader, name)


def _check_settled(dataset: WritableDataset, case: str) -> Iterator[Finding]:
    """The findings of a case that did not change while they were made."""
    while True:
        before = dataset.look(case)
        if before is None:
            return
        try:
            with dataset.copied(case) as folder:
                findings = list(_check_case(folder, dataset.spec, case))
        except FileNotFoundError as error:  # between two looks at one file: it was replaced, or deleted
            findings = [_finding(case, None, f"{Path(str(error.filename)).name} went missing")]
        if not findings or dataset.look(case) == before:
            yield from findings
            return


def _check_case(folder: Path, spec: MapSpec, case: str) -> Iterator[Finding]:
    try:
        node = read_json(folder / layout.NODE)
        record = CaseRecord.from_json(node["attributes"][layout.KEY])
        spec_hash = node["attributes"][layout.KEY]["spec_hash"]
        copies = node["consolidated_metadata"]["metadata"]
    except Exception as error:  # whatever the JSON holds, it is not a record
        yield _finding(case, None, f"its metadata cannot be read ({type(error).__name__})")
        return
    if not record.spec_hash == spec_hash == spec.hash:
        yield _finding(case, None, "its spec is not the dataset's")
    yield from _check_files(folder, case, record)
    positions = yield from _check_positions(folder, case, record, copies)
    damaged = set()
    for array in layout.image_arrays(record):
        for finding in _check_array(folder, case, record, array, copies):
            damaged.add(array)
            yield finding
    if not damaged & {"label", "phi"}:
        yield from _check_maps(folder, case, record, positions)
    if record.image and "image" not in damaged:
        yield from _check_image(folder, case, record.image)


def _check_files(folder: Path, case: str, record: CaseRecord) -> Iterator[Finding]:
    """Anything besides the arrays. An image that the record does not mention is passed over: it is what a
    process leaves that dies while it publishes one, no reader sees it, and the next attempt takes its place.
    """
    expected = layout.case_files(record)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        stray = record.image is None and name.startswith("image/")
        if not path.is_dir() and name not in expected and not stray:
            yield Finding(case=case, array=None, found=f"{name} is no part of the case", remedy="Remove it")


def _check_array(
    folder: Path, case: str, record: CaseRecord, array: str, copies: dict[str, Any]
) -> Iterator[Finding]:
    """The metadata of an array against their copy and the record, then its shard to the last byte."""
    try:
        group = read_json(folder / array / layout.NODE)
        node = read_json(folder / array / "0" / layout.NODE)
    except (FileNotFoundError, ValueError):
        yield _finding(case, array, "its metadata are missing or no JSON")
        return
    if not is_copied(copies, array, group, node):
        yield _finding(case, array, "its metadata are not those of the case")
    elif node != _expected_node(record, array, node):
        yield _finding(case, array, "its metadata do not agree with the case's record")
    else:
        try:
            _shard(folder, case, array).verify()
        except Damaged as error:
            yield _finding(case, array, error.found.removeprefix(f"case {case!r}: {array}: "))


def _expected_node(record: CaseRecord, array: str, node: dict[str, Any]) -> dict[str, Any]:
    """What an array's metadata must be, by the record; the type of the label is the mask's."""
    if array == "phi":
        return layout.array_node(
            array, record.shape, np.uint16, layout.phi_attributes(record.quantisation, record.spec)
        )
    if array == "image" and record.image is not None:
        return layout.array_node(array, layout.array_shape(record, array), record.image.dtype)
    return layout.array_node(array, record.shape, node["data_type"])


def _check_positions(
    folder: Path, case: str, record: CaseRecord, copies: dict[str, Any]
) -> Generator[Finding, None, NDArray[np.unsignedinteger[Any]] | None]:
    """The positions' metadata against their copy and the record, then their chunk; None if it is damaged."""
    array = layout.POSITIONS
    try:
        node = read_json(folder / array / layout.NODE)
    except (FileNotFoundError, ValueError):
        yield _finding(case, array, "its metadata are missing or no JSON")
        return None
    if copies.get(array) != node:
        yield _finding(case, array, "its metadata are not those of the case")
    elif node != layout.positions_node(record):
        yield _finding(case, array, "its metadata do not agree with the case's record")
    else:
        try:
            return read_positions(folder, record, array)
        except Damaged as error:
            yield _finding(case, array, error.found.removeprefix(f"{array}: "))
    return None


def _check_maps(
    folder: Path, case: str, record: CaseRecord, positions: NDArray[np.unsignedinteger[Any]] | None
) -> Iterator[Finding]:
    label, phi = (_shard(folder, case, array) for array in ("label", "phi"))
    try:
        for array, fault in voxel_faults(record, label, phi):
            yield _finding(case, array, fault)
        if positions is not None and (wrong := misplaced(record, label, positions)):
            found = f"{wrong} of its rows are there twice, or are no voxels of their labels"
            yield _finding(case, layout.POSITIONS, found)
    except Damaged as error:
        yield _finding(case, None, error.found)


def _check_image(folder: Path, case: str, record: ImageRecord) -> Iterator[Finding]:
    if len(record.moments) != record.channels:
        yield _finding(case, "image", f"{len(record.moments)} moments for {record.channels} channels")
        return
    try:
        for fault in image_faults(record, _shard(folder, case, "image")):
            yield _finding(case, "image", fault)
    except Damaged as error:
        yield _finding(case, None, error.found)


def _shard(folder: Path, case: str, array: str) -> Shard:
    node = read_json(folder / array / "0" / layout.NODE)
    shape = tuple(node["shape"])
    path = folder / array / "0" / layout.shard_key(shape)
    return Shard(path, array, shape, node["data_type"], f"case {case!r}: {array}")


def _finding(case: str, array: str | None, found: str) -> Finding:
    return Finding(case=case, array=array, found=f"{array}: {found}" if array else found, remedy=REMEDY)
