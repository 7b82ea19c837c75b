"""Label maps to compare, wherever they lie: files of any tool in a folder, a dataset, or one behind a URL.

Each side of a comparison is one `LabelMaps`; which case goes with which, and what is measured, is decided in
`evaluation.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from dmapsvc.errors import NotFound
from dmapsvc.loader.source import is_dataset, open_dataset
from dmapsvc.pipeline.folder import find_cases
from dmapsvc.store import Case, Reader
from dmapsvc.volumes import Header, Volume, read_header, read_labels


class LabelMaps(Protocol):
    """Label maps by the name of their case."""

    @property
    def labels(self) -> tuple[int, ...] | None:
        """The values that are classes; None: all but 0 are."""

    @property
    def names(self) -> Mapping[int, str]:
        """What labels are called, by value, as far as that is known."""

    def cases(self) -> list[str]:
        """The names of the cases, sorted."""

    def __contains__(self, case: str) -> bool:
        """Whether there is a case of this name."""

    def shown(self, case: str) -> str:
        """What messages call the label map of `case`."""

    def header(self, case: str) -> Header:
        """The grid of `case`, and nothing of its voxels; raises NotFound, BadFile, Damaged."""

    def read(self, case: str) -> Volume:
        """The label map of `case`, with its own values; raises as `header`, and BadLabels."""


def open_label_maps(location: str | Path) -> LabelMaps:
    """The label maps at `location`: a dataset folder, its URL, a folder of label files, or one such file.

    Raises what `open_dataset` raises for a dataset, and what `find_cases` raises for files: BadInput where
    there are none, BadName for two files of one case.
    """
    if is_dataset(location):
        return DatasetMaps(location)
    return FileMaps(Path(location))


def open_pair(truth: str | Path, predictions: str | Path) -> tuple[LabelMaps, LabelMaps]:
    """Those of both sides, as `open_label_maps`; two single files are one case, whatever their names."""
    truths = open_label_maps(truth)
    if Path(truth).is_file() and Path(predictions).is_file():
        return truths, FileMaps(Path(predictions), called=truths.cases()[0])
    return truths, open_label_maps(predictions)


class FileMaps:
    """Label files of any format that can be read, below a folder; cases are called as `find_cases` says.

    `called`: the name of the case that a single file, `path`, is.
    """

    labels = None
    names: Mapping[int, str] = {}

    def __init__(self, path: Path, *, called: str | None = None) -> None:
        self._files = {found.case: found.mask for found in find_cases(path)}
        if called is not None:
            self._files = {called: path}
        self._path = path

    def cases(self) -> list[str]:
        """The names of the cases, sorted."""
        return sorted(self._files)

    def __contains__(self, case: str) -> bool:
        return case in self._files

    def shown(self, case: str) -> str:
        """The file's path."""
        return str(self._file(case))

    def header(self, case: str) -> Header:
        """What the file's header says; raises NotFound, BadFile."""
        return read_header(self._file(case), name=self.shown(case))

    def read(self, case: str) -> Volume:
        """The file; raises NotFound, BadFile, BadLabels."""
        return read_labels(self._file(case), name=self.shown(case))

    def _file(self, case: str) -> Path:
        if case not in self._files:
            raise NotFound(f"case {case!r}: no file of that name in {self._path}")
        return self._files[case]


class DatasetMaps:
    """The label maps of a dataset's published cases; of one behind a URL only they are fetched.

    Pickles as its location. Opened when it is first asked for something, which raises what `open_dataset`
    raises.
    """

    def __init__(self, location: str | Path) -> None:
        self._location = location

    @property
    def labels(self) -> tuple[int, ...] | None:
        """Those of the dataset's spec."""
        return self._reader.spec.labels

    @property
    def names(self) -> Mapping[int, str]:
        """Those of the dataset."""
        return self._reader.names

    def cases(self) -> list[str]:
        """The names of the cases, sorted."""
        return self._reader.cases()

    def __contains__(self, case: str) -> bool:
        return case in self._reader

    def shown(self, case: str) -> str:
        """The case and its dataset."""
        return f"case {case!r} of {self._reader.name}"

    def header(self, case: str) -> Header:
        """What the case's record says; raises NotFound, Damaged."""
        return _header(self._reader.case(case))

    def read(self, case: str) -> Volume:
        """The label map; raises NotFound, Damaged, Superseded."""
        found = self._reader.case(case)
        return Volume(header=_header(found), array=found.read("label"))

    @cached_property
    def _reader(self) -> Reader:
        return open_dataset(self._location)

    def __reduce__(self) -> tuple[type[DatasetMaps], tuple[str | Path]]:
        return DatasetMaps, (self._location,)


def _header(case: Case) -> Header:
    record = case.record
    return Header(
        format="Zarr",
        shape=record.shape,
        dtype=np.dtype(case.label.dtype),
        spacing=record.spacing,
        affine=None if record.affine is None else np.array(record.affine),
    )
