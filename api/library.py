"""The datasets of the service: which there are, made when first needed, removed as a whole.

Where they lie and what is inside them is `dmapsvc.store`'s.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from weakref import WeakValueDictionary

from dmapsvc.errors import Damaged, NotFound
from dmapsvc.settings import Settings
from dmapsvc.spec import MapSpec
from dmapsvc.store import CaseRecord, Reader, WritableDataset, open_store
from dmapsvc.store.staging import only_one
from dmapsvc.store.storedfile import StoredFile

_log = logging.getLogger("api")


class Library:
    """The datasets in the store of `settings`; safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self.store = open_store(settings.store_location, settings.staging)
        self._staging = settings.staging
        self._locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._finding_lock = threading.Lock()

    @contextmanager
    def changing(self, name: str) -> Iterator[None]:
        """Held while it is decided which spec the dataset `name` has, and a job is accepted under it.

        By one thread of one of the processes that share the staging folder: on other hosts they do as far as
        `flock` of its file system reaches. Also for a store in a bucket.
        """
        with self._finding_lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock, only_one(self._staging / f".{name}.lock"):  # flock may count by process: both are needed
            yield

    def datasets(self) -> list[Reader]:
        """Every dataset, sorted by name; one that cannot be read is left out and logged."""
        found = []
        for name in self.store.names():
            try:
                found.append(self.read(name))
            except (Damaged, NotFound) as error:  # NotFound: deleted this moment
                _log.warning("%s", error.detail)
        return found

    def read(self, name: str) -> Reader:
        """The dataset `name`, only to be read: waits for nobody who changes it; raises NotFound, Damaged."""
        try:
            return self.store.read(name)
        except NotFound as error:
            raise _listed(error) from None

    def open(self, name: str) -> WritableDataset:
        """The dataset `name`, to be changed; raises NotFound, Damaged."""
        try:
            return self.store.open(name)
        except NotFound as error:
            raise _listed(error) from None

    def find(self, name: str) -> WritableDataset | None:
        """The dataset `name`, or None."""
        try:
            return self.open(name)
        except NotFound:
            return None

    def create(self, name: str, spec: MapSpec, names: Mapping[int, str] | None = None) -> WritableDataset:
        """Make the dataset `name`, or find it made; names of labels that it has stay unless others are given.

        Raises Conflict if it has cases of another spec.
        """
        before = self.find(name)
        kept = names or (before.names if before is not None else {})
        return self.store.create(name, spec, kept)

    def file(self, path: str) -> StoredFile | None:
        """The file at `path`, `<dataset>.zarr/…`; None if none is there."""
        return self.store.file(path)


def _listed(error: NotFound) -> NotFound:
    return NotFound(error.found, error.wanted, "GET /v1/datasets lists them")


def record_of(dataset: WritableDataset | None, case: str, *, even_damaged: bool = False) -> CaseRecord | None:
    """The record of `case` if it is published; with `even_damaged` a damaged case counts as none."""
    try:
        return None if dataset is None else dataset.case(case).record
    except NotFound:
        return None
    except Damaged:
        if even_damaged:
            return None
        raise
