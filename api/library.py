"""The datasets of the service: which there are, made when first needed, removed as a whole.

A dataset is the folder `<name>.zarr` in `settings.store`; what is inside it is `dmapsvc.store`'s.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from weakref import WeakValueDictionary

from dmapsvc.errors import Damaged, NotFound
from dmapsvc.settings import Settings
from dmapsvc.spec import MapSpec
from dmapsvc.store import CaseRecord, Dataset, Reader

_SUFFIX = ".zarr"
_log = logging.getLogger("api")


class Library:
    """The datasets in `settings.store`; safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._finding_lock = threading.Lock()

    def changing(self, name: str) -> threading.Lock:
        """Held while it is decided which spec the dataset `name` has, and a job is accepted under it."""
        with self._finding_lock:
            return self._locks.setdefault(name, threading.Lock())

    def datasets(self) -> list[Reader]:
        """Every dataset, sorted by name; one that cannot be read is left out and logged."""
        found = []
        for path in sorted(self._settings.store.glob(f"[!.]*{_SUFFIX}")):
            try:
                found.append(self.read(path.name.removesuffix(_SUFFIX)))
            except (Damaged, NotFound) as error:  # NotFound: deleted this moment
                _log.warning("%s", error.detail)
        return found

    def read(self, name: str) -> Reader:
        """The dataset `name`, only to be read: waits for nobody who changes it; raises NotFound, Damaged."""
        try:
            return Dataset(self._path(name))  # which lists its cases only when asked, unlike Reader.local
        except NotFound:
            raise _no_dataset(name) from None

    def open(self, name: str) -> Dataset:
        """The dataset `name`, to be changed; raises NotFound, Damaged."""
        try:
            return Dataset.open(self._path(name), staging=self._settings.staging / name)
        except NotFound:  # whose words name a folder of this machine
            raise _no_dataset(name) from None

    def find(self, name: str) -> Dataset | None:
        """The dataset `name`, or None."""
        try:
            return self.open(name)
        except NotFound:
            return None

    def create(self, name: str, spec: MapSpec, names: Mapping[int, str] | None = None) -> Dataset:
        """Make the dataset `name`, or find it made; names of labels that it has stay unless others are given.

        Raises Conflict if it has cases of another spec.
        """
        before = self.find(name)
        kept = names or (before.names if before is not None else {})
        return Dataset.create(self._path(name), spec, names=kept, staging=self._settings.staging / name)

    def _path(self, name: str) -> Path:
        return self._settings.store / f"{name}{_SUFFIX}"


def _no_dataset(name: str) -> NotFound:
    return NotFound(f"dataset {name!r}", "there is none of that name", "GET /v1/datasets lists them")


def record_of(dataset: Dataset | None, case: str, *, even_damaged: bool = False) -> CaseRecord | None:
    """The record of `case` if it is published; with `even_damaged` a damaged case counts as none."""
    try:
        return None if dataset is None else dataset.case(case).record
    except NotFound:
        return None
    except Damaged:
        if even_damaged:
            return None
        raise
