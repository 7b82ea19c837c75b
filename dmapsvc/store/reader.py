"""Reading a dataset, wherever it lies: any zarr store and a list of its cases.

HTTP cannot list, so the cases are given. Nothing that is missing or damaged is ever read as zeros.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore, WrapperStore

from dmapsvc.errors import BadSpec, Damaged, NotFound, Superseded
from dmapsvc.quantised import dequantise
from dmapsvc.spec import MapSpec, check_name
from dmapsvc.store import layout
from dmapsvc.store.codecs import check_codecs
from dmapsvc.store.layout import FORMAT, KEY, NODE
from dmapsvc.store.positions import by_label
from dmapsvc.store.record import CaseRecord
from dmapsvc.store.shard import REMEDY

ArrayName = Literal["image", "label", "phi"]
UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, BadSpec)  # what parsing bad metadata raises
_CHUNK = re.compile(r"(?P<case>[^/]+)/(?:(?P<array>image|label|phi)/0|(?P<table>positions))/c/")


class StrictStore(WrapperStore[Store]):
    """`store`, but a chunk that is missing or empty raises Damaged, where zarr would read the fill value."""

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """As zarr defines it."""
        found = await self._store.get(key, prototype, byte_range)
        chunk = _CHUNK.match(key)
        if chunk and not found:
            what = f"{chunk['array']}: its shard" if chunk["array"] else f"{chunk['table']}: its chunk"
            raise Damaged(f"case {chunk['case']!r}: {what} is missing or empty", remedy=REMEDY)
        return found

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """As zarr defines it."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]


class Case:
    """A published case as it was when it was opened.

    Opening reads one small file. Raises NotFound if there is no such case, Damaged if its metadata cannot be
    read.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.name, self._store = name, store
        self._group, self.record = self._open()

    @cached_property
    def label(self) -> zarr.Array[Any]:
        """The label map, (z, y, x), with the mask's own values."""
        return self._array("label", "label/0")

    @cached_property
    def phi(self) -> zarr.Array[Any]:
        """Φ as it is stored, (z, y, x), uint16; see `phi_values`."""
        return self._array("phi", "phi/0")

    @cached_property
    def image(self) -> zarr.Array[Any] | None:
        """The image, (z, y, x) or (c, z, y, x), or None."""
        return None if self.record.image is None else self._array("image", "image/0")

    def phi_values(self, selection: Any = ...) -> NDArray[np.float32]:
        """Φ in the map's unit, float32, wrong by at most `record.quantisation.max_error`; of a basic
        selection.
        """
        return dequantise(self.read("phi", selection), self.record.quantisation)

    def read(self, array: ArrayName, selection: Any = ...) -> NDArray[Any]:
        """The values of one array, of a basic selection (slices and whole numbers, (z, y, x)).

        Raises NotFound if the case has no image, Damaged if a shard is missing or fails its checksum, and
        Superseded if the case was deleted, or this array replaced, since the case was opened: what was there
        before is never mixed with what came after. An image that is added or replaced leaves label and Φ as
        they are.
        """
        source = getattr(self, array)
        if source is None:
            raise NotFound(f"case {self.name!r} has no image", remedy="Upload one, or precompute with images")
        return self._read_settled(array, source, selection)

    def positions(self) -> dict[int, NDArray[np.unsignedinteger[Any]]]:
        """Voxels of each label but the background, by its value: (n, 3) rows (z, y, x).

        All voxels of a small label, some of a large one (`layout.position_counts`). Raises as `read`.
        """
        name = layout.POSITIONS
        rows = self._read_settled(name, self._array(name, name), ...)
        if rows.shape != (sum(count for _, count in layout.position_counts(self.record)), 3):
            raise Damaged(f"case {self.name!r}: {name}: not as many as recorded", remedy=REMEDY)
        return by_label(rows, self.record)

    def _read_settled(self, array: str, source: zarr.Array[Any], selection: Any) -> NDArray[Any]:
        try:
            return self._read_current(array, source, selection)
        except (Damaged, Superseded):  # perhaps only away for the moment in which an image was swapped in
            return self._read_current(array, source, selection)

    def _read_current(self, array: str, source: zarr.Array[Any], selection: Any) -> NDArray[Any]:
        try:
            values = np.asarray(source[selection])
        except (Damaged, ValueError, RuntimeError) as error:
            self._check_current(array)
            if isinstance(error, Damaged):
                raise
            raise Damaged(f"case {self.name!r}: {array}: {error}", remedy=REMEDY) from error
        self._check_current(array)
        return values

    def _array(self, name: str, path: str) -> zarr.Array[Any]:
        try:
            array = self._group[path]
        except KeyError:
            array = None
        if not isinstance(array, zarr.Array):
            raise Damaged(f"case {self.name!r}: {name}: its metadata are missing", remedy=REMEDY)
        return array

    def _check_current(self, array: str) -> None:
        try:
            record = self._open()[1]
        except NotFound:
            record = None
        if record is None or _edition(record, array) != _edition(self.record, array):
            raise Superseded(
                f"case {self.name!r} was replaced or deleted while it was read", remedy="Open the case again"
            )

    def _open(self) -> tuple[zarr.Group, CaseRecord]:
        try:
            group = zarr.open_group(self._store, path=self.name, mode="r", zarr_format=3)
            return group, CaseRecord.from_json(group.attrs[KEY])  # type: ignore[arg-type]  # checked by from_json
        except FileNotFoundError:
            raise NotFound(
                f"case {self.name!r}", "there is none of that name", "`dmapsvc info` lists the cases"
            ) from None
        except UNREADABLE as error:
            with suppress(*UNREADABLE):
                self._check_codecs()
            raise unreadable(self.name) from error

    def _check_codecs(self) -> None:
        node = sync(self._store.get(f"{self.name}/{NODE}", default_buffer_prototype()))
        if node is not None:
            check_codecs(self.name, json.loads(node.to_bytes())["consolidated_metadata"]["metadata"])


def _edition(record: CaseRecord, array: str) -> tuple[object, ...]:
    """What tells an array of a case from the one that takes its place."""
    if array == "image":
        return (record.image and record.image.sha256,)
    return record.id, record.revision, record.published


class Reader:
    """A dataset for reading: `store` is at its root, `cases` are its published cases, `name` is what it is
    called.

    Raises NotFound if no dataset is there, Damaged if its metadata cannot be read.
    """

    def __init__(self, store: Store, cases: Sequence[str], *, name: str = "") -> None:
        self.name, self._store, self._cases = name, StrictStore(store), sorted(cases)
        self.spec, self.names = self._read_spec()

    @classmethod
    def local(cls, path: Path) -> Reader:
        """The dataset in the folder `path`, with the cases published now; writes nothing."""
        return cls(LocalStore(path, read_only=True), list_cases(path), name=dataset_name(path))

    def cases(self) -> list[str]:
        """The names of the published cases, sorted."""
        return list(self._cases)

    def __contains__(self, case: str) -> bool:
        return case in self._cases

    def case(self, name: str) -> Case:
        """Open a case; raises BadName, NotFound, Damaged."""
        return Case(self._store, check_name(name, "case"))

    def _read_spec(self) -> tuple[MapSpec, dict[int, str]]:
        try:
            group = zarr.open_group(self._store, mode="r", zarr_format=3, use_consolidated=False)
            record: Any = group.attrs[KEY]
            spec = MapSpec.from_json(record["spec"])
            names = {int(value): str(name) for value, name in record["names"].items()}
            version, spec_hash = int(record["format"]), record["spec_hash"]
        except FileNotFoundError:
            raise NotFound(f"dataset {self.name!r}", "there is none of that name") from None
        except UNREADABLE as error:
            raise Damaged(
                f"dataset {self.name!r}: its metadata cannot be read", remedy="Is it a dataset of dmapsvc?"
            ) from error
        if version != FORMAT:
            older = "Made by an earlier version: precompute it again"
            raise Damaged(
                f"dataset {self.name!r} has format {version}",
                f"{FORMAT} is known",
                older if version < FORMAT else "Update dmapsvc",
            )
        if spec.hash != spec_hash:
            raise Damaged(f"dataset {self.name!r}: its spec does not agree with its hash")
        return spec, names


def unreadable(case: str) -> Damaged:
    """The error for a published case whose metadata are not what they should be."""
    return Damaged(f"case {case!r}: its metadata cannot be read", remedy=REMEDY)


def dataset_name(path: Path) -> str:
    """What the dataset in the folder `path` is called: the folder's name without `.zarr`."""
    return path.name.removesuffix(".zarr")


def list_cases(path: Path) -> list[str]:
    """The cases published in the folder `path`, sorted: one look at each, none is opened."""
    try:
        return sorted(entry.name for entry in path.iterdir() if (entry / NODE).is_file())
    except FileNotFoundError:
        return []


def has_case(path: Path) -> bool:
    """Whether a case is published in the folder `path`; looks until there is one."""
    try:
        with os.scandir(path) as entries:
            return any(Path(entry.path, NODE).is_file() for entry in entries)
    except FileNotFoundError:
        return False
