"""Where a dataset lies: a folder, or behind a URL. No torch here.

A `CaseSource` gives each case as a local folder of its files, which is what patches are read from;
`open_dataset` gives the arrays themselves, by zarr. Fetching what is remote is `mirror.py`'s.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeGuard

from dmapsvc.errors import DatasetAway, NotFound
from dmapsvc.spec import MapSpec, check_name
from dmapsvc.store import CaseRecord, Dataset, Reader
from dmapsvc.store.layout import NODE

if TYPE_CHECKING:
    from dmapsvc.loader.remote.mirror import Mirror

_AWAY = 60.0  # seconds; a file system that is mounted again, or moved, is back by then
_PAUSES = 0.05, 5.0  # seconds between two looks, at first and at most

_log = logging.getLogger(__name__)

_REMEDY = "Name the folder ….zarr, or a URL like http://127.0.0.1:8000/v1/datasets/knees"


class CaseSource(Protocol):
    """The published cases of one dataset, each of which it can lay into a local folder.

    Picklable, and usable by several threads at once.
    """

    @property
    def name(self) -> str:
        """What the dataset is called."""

    @property
    def spec(self) -> MapSpec:
        """Which map its cases have."""

    @property
    def names(self) -> Mapping[int, str]:
        """What its labels are called, by value."""

    def cases(self) -> list[str]:
        """The names of the cases published now, sorted."""

    def record(self, case: str) -> CaseRecord:
        """The record of `case`; raises NotFound, Damaged."""

    def folder(self, case: str) -> Path:
        """A local folder with all files of `case`, fetched first if need be; raises NotFound, Damaged."""

    def prefetch(self, cases: Sequence[str]) -> None:
        """A hint: `cases` will be asked for soon, in this order, after those of earlier hints that were not
        asked for yet. Returns at once and raises nothing.
        """


class LocalSource:
    """The dataset in the folder `path`. Raises NotFound if none is there, Damaged."""

    def __init__(self, path: Path) -> None:
        _check_there(path)
        self._dataset = Dataset(path)
        self.name, self.spec, self.names = self._dataset.name, self._dataset.spec, self._dataset.names

    def cases(self) -> list[str]:
        """The names of the cases published now, sorted."""
        return self._dataset.cases()

    def record(self, case: str) -> CaseRecord:
        """The record of `case`; raises NotFound, Damaged."""
        record = self._dataset.record(case)
        if record is None:
            raise self._no_case(case)
        return record

    def folder(self, case: str) -> Path:
        """The case's own folder. A dataset that is away is waited for, a minute, with growing pauses.

        Raises BadName, NotFound if there is no such case, DatasetAway.
        """
        folder = self._dataset.path / check_name(case, "case")
        if not _is_published(folder):
            self._wait_for_dataset()
            if not _is_published(folder):
                raise self._no_case(case)
        return folder

    def prefetch(self, cases: Sequence[str]) -> None:
        """Nothing: it is all here."""

    def _wait_for_dataset(self) -> None:
        path, patience, (pause, longest) = self._dataset.path, time.monotonic() + _AWAY, _PAUSES
        if _is_published(path):
            return
        _log.warning("%s is away; it is waited for", path)
        while not _is_published(path):
            if time.monotonic() > patience:
                raise DatasetAway(f"{path}: the dataset is away", f"waited {_AWAY:g} s", "Bring it back")
            time.sleep(pause)
            pause = min(2 * pause, longest)

    def _no_case(self, case: str) -> NotFound:
        return NotFound(
            f"case {case!r}", f"there is none of that name in {self.name}", "`dmapsvc info` lists the cases"
        )


def open_source(location: str | Path, *, patience: float | None = None) -> CaseSource:
    """The cases of the dataset at `location`: a folder `….zarr`, 'http://host:port/v1/datasets/knees', or
    's3://bucket/prefix/knees.zarr'.

    Behind a URL each case is fetched once into the machine's cache, and a server that goes away is waited
    for, `patience` seconds, ten minutes if left out (`mirror.py`).

    Raises NotFound if there is no dataset; for a URL ServerProblem if the service has none of this name,
    ServerUnreachable if no service answers, BadInput if it is not a dataset's URL.
    """
    if is_url(location):
        return _mirror(location, patience)
    return LocalSource(Path(location))


def open_dataset(location: str | Path, *, patience: float | None = None) -> Reader:
    """The dataset at `location`, for reading by zarr; locations, `patience` and errors as of `open_source`.

    Behind a URL the cases are those published now, metadata are read there, and an array is fetched whole
    into the machine's cache when it is first read: meant for many patches of one case, not for one voxel.
    """
    if is_url(location):
        return _mirror(location, patience).reader()
    path = Path(location)
    _check_there(path)
    return Reader.local(path)


def is_url(location: str | Path) -> TypeGuard[str]:
    """Whether a dataset at `location` would be behind a URL, not in a folder."""
    return isinstance(location, str) and "://" in location


def is_dataset(location: str | Path) -> bool:
    """Whether `location` is a dataset's, a URL or its folder; anything else may be one of files."""
    return is_url(location) or (Path(location) / NODE).is_file()


def _mirror(url: str, patience: float | None) -> Mirror:
    from dmapsvc.loader.remote.mirror import Mirror
    from dmapsvc.loader.remote.patience import PATIENCE

    return Mirror(url, patience=PATIENCE if patience is None else patience)


def _is_published(folder: Path) -> bool:
    """Whether a dataset or a case is there; what else a look may raise is told, not taken for no."""
    try:
        (folder / NODE).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _check_there(path: Path) -> None:
    if not (path / NODE).is_file():
        raise NotFound(
            f"{path}: no dataset is there", "wanted a folder that `dmapsvc precompute` wrote", _REMEDY
        )
