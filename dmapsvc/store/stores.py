"""Where the datasets of a service lie, all together: which there are, opened and made by name.

A dataset is `<name>.zarr` in a folder or below a prefix of a bucket; what is inside it is `dataset.py`'s and
`bucket.py`'s.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from dmapsvc.errors import BadInput, Damaged, NotFound
from dmapsvc.spec import MapSpec, check_name
from dmapsvc.store.bucket import BucketDataset
from dmapsvc.store.bucketfiles import open_object
from dmapsvc.store.bucketstrays import Stray
from dmapsvc.store.dataset import Dataset
from dmapsvc.store.objects import Objects
from dmapsvc.store.reader import Reader
from dmapsvc.store.s3 import is_bucket, split_url
from dmapsvc.store.staging import Staging
from dmapsvc.store.storedfile import StoredFile, is_shown, open_below
from dmapsvc.store.writable import WritableDataset

SUFFIX = ".zarr"
_PROBE = ".ready"  # an object that shows whether the bucket can be written


class DatasetStore(Protocol):
    """Datasets by name. Usable by several threads, and by any number of processes that name the same one."""

    def prepare(self) -> None:
        """Make what must be there before the first dataset is."""

    def check_writable(self) -> None:
        """Raise OSError or StoreAway unless something small can be written."""

    def names(self) -> list[str]:
        """What the datasets are called, sorted."""

    def read(self, name: str) -> Reader:
        """The dataset `name`, only to be read: waits for nobody who changes it; raises NotFound, Damaged."""

    def open(self, name: str) -> WritableDataset:
        """The dataset `name`, to be changed; raises NotFound, Damaged."""

    def create(self, name: str, spec: MapSpec, names: Mapping[int, str] | None = None) -> WritableDataset:
        """Make the dataset `name`, or find it made, as `Dataset.create` does; raises Conflict, BadName."""

    def file(self, path: str) -> StoredFile | None:
        """The file at `path`, from the root of the store; None if none is there that may be shown."""

    def leftovers(self) -> list[Path]:
        """What publishers that died have left on this machine."""

    def left_in_bucket(self) -> list[Stray]:
        """What they have left in the store, if that is a bucket."""

    def sweep(self) -> None:
        """Undo and remove that, and what they have left in the store; what living ones work on stays."""


class FolderStore:
    """The datasets in the folder `root`; `staging`, on the same file system, holds a folder for each, where
    cases are written before they are published.
    """

    def __init__(self, root: Path, staging: Path) -> None:
        self._root, self._staging = root, staging

    def prepare(self) -> None:
        """As `DatasetStore` says."""
        for folder in (self._root, self._staging):
            folder.mkdir(parents=True, exist_ok=True)

    def check_writable(self) -> None:
        """As `DatasetStore` says."""
        probe = self._root / f".ready-{uuid.uuid4().hex}"
        try:
            probe.write_bytes(b"?")
        finally:
            probe.unlink(missing_ok=True)

    def names(self) -> list[str]:
        """As `DatasetStore` says."""
        return sorted(path.name.removesuffix(SUFFIX) for path in self._root.glob(f"[!.]*{SUFFIX}"))

    def read(self, name: str) -> Reader:
        """As `DatasetStore` says."""
        try:
            return Dataset(self._path(name))  # which lists its cases only when asked, unlike Reader.local
        except NotFound:
            raise no_dataset(name) from None

    def open(self, name: str) -> Dataset:
        """As `DatasetStore` says."""
        try:
            return Dataset.open(self._path(name), staging=self._staging / name)
        except NotFound:  # whose words name a folder of this machine
            raise no_dataset(name) from None

    def create(self, name: str, spec: MapSpec, names: Mapping[int, str] | None = None) -> Dataset:
        """As `DatasetStore` says."""
        return Dataset.create(self._path(name), spec, names=names, staging=self._staging / name)

    def file(self, path: str) -> StoredFile | None:
        """As `DatasetStore` says."""
        return open_below(self._root, path)

    def leftovers(self) -> list[Path]:
        """As `DatasetStore` says."""
        return [entry for staging in self._stagings() for entry in staging.dead()]

    def left_in_bucket(self) -> list[Stray]:
        """As `DatasetStore` says: nothing."""
        return []

    def sweep(self) -> None:
        """As `DatasetStore` says. The staging of a dataset that is gone goes too."""
        for staging in self._stagings():
            staging.sweep()
            staging.remove_if_gone()

    def _stagings(self) -> list[Staging]:
        if not (self._root.is_dir() and self._staging.is_dir()):
            return []
        folders = [folder for folder in sorted(self._staging.iterdir()) if folder.is_dir()]
        return [Staging(folder, self._path(folder.name)) for folder in folders]

    def _path(self, name: str) -> Path:
        return self._root / f"{name}{SUFFIX}"


class BucketStore:
    """The datasets below 's3://bucket/prefix'; `staging`, on this machine, holds a folder for each, where
    cases are written before they are put. All its methods may raise StoreAway.
    """

    def __init__(self, url: str, staging: Path | None) -> None:
        self._objects, self._staging = Objects(url), staging

    def prepare(self) -> None:
        """As `DatasetStore` says: the bucket is to be there."""
        if self._staging is not None:
            self._staging.mkdir(parents=True, exist_ok=True)
        self._objects.head(_PROBE)

    def check_writable(self) -> None:
        """As `DatasetStore` says."""
        self._objects.overwrite(_PROBE, b"?")

    def names(self) -> list[str]:
        """As `DatasetStore` says."""
        folders = (folder for folder in self._objects.folders() if folder.endswith(SUFFIX))
        return sorted(folder.removesuffix(SUFFIX) for folder in folders if not folder.startswith("."))

    def read(self, name: str) -> Reader:
        """As `DatasetStore` says."""
        return self.open(name)

    def open(self, name: str) -> BucketDataset:
        """As `DatasetStore` says."""
        return BucketDataset(self._objects, check_name(name, "dataset"), staging=self._below(name))

    def create(self, name: str, spec: MapSpec, names: Mapping[int, str] | None = None) -> BucketDataset:
        """As `DatasetStore` says."""
        return BucketDataset.create(self._objects, name, spec, names=names, staging=self._below(name))

    def file(self, path: str) -> StoredFile | None:
        """As `DatasetStore` says."""
        return open_object(self._objects, path) if is_shown(path) else None

    def leftovers(self) -> list[Path]:
        """As `DatasetStore` says."""
        return [entry for staging in self._stagings() for entry in staging.dead()]

    def left_in_bucket(self) -> list[Stray]:
        """As `DatasetStore` says; lists every object of every dataset."""
        left = []
        for name in self.names():
            with suppress(NotFound, Damaged):  # deleted this moment, or not ours
                left += self.open(name).leftovers()
        return left

    def sweep(self) -> None:
        """As `DatasetStore` says; lists every object of every dataset."""
        for staging in self._stagings():
            staging.sweep()
        for name in self.names():
            with suppress(NotFound, Damaged):  # deleted this moment, or not ours
                self.open(name).sweep()

    def _stagings(self) -> list[Staging]:
        if self._staging is None or not self._staging.is_dir():
            return []
        return [Staging(folder, folder) for folder in sorted(self._staging.iterdir()) if folder.is_dir()]

    def _below(self, name: str) -> Path | None:
        return None if self._staging is None else self._staging / name


def open_store(location: str, staging: Path) -> DatasetStore:
    """The datasets at `location`, a folder or 's3://bucket/prefix'; `staging` is a folder of this machine.

    Nothing is asked or made yet. Raises BadInput for another URL, or if `obstore`, which reaches S3, is not
    installed.
    """
    return BucketStore(location, staging) if is_bucket(location) else FolderStore(Path(location), staging)


def open_dataset_at(location: str | Path) -> WritableDataset:
    """The dataset at `location`, a folder or 's3://bucket/prefix/knees.zarr', to be changed.

    Raises NotFound, Damaged, and for a URL BadInput and StoreAway.
    """
    if is_bucket(location):
        url, name = _split(str(location))
        return BucketStore(url, None).open(name)
    return Dataset.open(Path(location))


def create_dataset_at(
    location: str | Path, spec: MapSpec, names: Mapping[int, str] | None = None
) -> WritableDataset:
    """The dataset at `location`, a folder or 's3://bucket/prefix/knees.zarr', made or found made.

    Raises as `Dataset.create`, and for a URL as `BucketDataset.create`.
    """
    if is_bucket(location):
        url, name = _split(str(location))
        return BucketStore(url, None).create(name, spec, names)
    return Dataset.create(Path(location), spec, names=names)


def _split(url: str) -> tuple[str, str]:
    """The URL of the store, and the name of the dataset at `url` in it."""
    bucket, prefix = split_url(url)
    above, _, folder = prefix.rpartition("/")
    if not folder.endswith(SUFFIX):
        raise BadInput(url, "a dataset in S3 is like s3://bucket/prefix/knees.zarr")
    return f"s3://{bucket}/{above}", folder.removesuffix(SUFFIX)


def no_dataset(name: str) -> NotFound:
    """The error for a dataset that is not there."""
    return NotFound(f"dataset {name!r}", "there is none of that name")
