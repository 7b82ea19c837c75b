"""A dataset in a bucket: made, listed, and its cases published, replaced and deleted, never seen mixed.

    <prefix>/<dataset>.zarr/                   the dataset, as it lies in a folder
    <prefix>/.<dataset>.zarr/dataset           the lease of who makes or removes the dataset
    <prefix>/.<dataset>.zarr/locks/<case>      the lease of who changes a case
    <prefix>/.<dataset>.zarr/held/<case>       which image waits for the mask of a case
    <prefix>/.<dataset>.zarr/images/<case>/…   that image
    <prefix>/.<dataset>.zarr/work/…            leases of who is at work without changing anything yet

What publishing is, wherever the dataset lies, is `writable.py`'s; in which order the objects of a case are
put is `bucketcase.py`'s.
"""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from dmapsvc.spec import MapSpec, check_name
from dmapsvc.store import layout
from dmapsvc.store.absent import is_claim
from dmapsvc.store.bucketcase import CaseObjects, download_tree
from dmapsvc.store.bucketfiles import BucketFiles, holds_claim, published_cases
from dmapsvc.store.bucketroot import BucketRoot
from dmapsvc.store.bucketstrays import Stray, find_strays
from dmapsvc.store.files import read_json
from dmapsvc.store.lease import Lease
from dmapsvc.store.objects import Objects
from dmapsvc.store.record import CaseRecord, ImageRecord
from dmapsvc.store.sound import is_sound_array, is_sound_group
from dmapsvc.store.staging import NEW, Staging
from dmapsvc.store.writable import WritableDataset, check_image, no_such_case
from dmapsvc.store.writing import case_node


class BucketDataset(WritableDataset):
    """The dataset `name` below `objects`; `staging` is a folder of this machine, or one of the system's
    temporary ones if left out, where cases are written before they are put.

    Any number of processes on any number of machines may hold the same dataset. Raises NotFound, Damaged,
    StoreAway.
    """

    def __init__(self, objects: Objects, name: str, *, staging: Path | None = None) -> None:
        self._objects, self._root, self._hidden = objects, f"{name}.zarr", f".{name}.zarr"
        self._staging = staging
        self._changing: dict[str, CaseObjects] = {}
        self._waiting: dict[str, CaseObjects] = {}
        super().__init__(BucketFiles(objects, self._root), (), name=name)

    @classmethod
    def create(
        cls,
        objects: Objects,
        name: str,
        spec: MapSpec,
        *,
        names: Mapping[int, str] | None = None,
        staging: Path | None = None,
    ) -> BucketDataset:
        """Make a dataset, or find it made, as `Dataset.create` does.

        Raises Conflict, BadName, StoreAway, and BadInput for a bucket that writes whatever the condition.
        """
        root = BucketRoot(objects, check_name(name, "dataset"))
        if not root.is_made(spec, names):
            with root.lease() as lease:
                root.make(spec, names, lease)
        return cls(objects, name, staging=staging)

    def cases(self) -> list[str]:
        """The names of the cases published now, sorted; lists every object of the dataset."""
        return sorted(published_cases(self._objects, self._root))

    def is_empty(self) -> bool:
        """As `WritableDataset` says."""
        return not BucketRoot(self._objects, self.name).has_case()

    def look(self, case: str) -> bytes | None:
        """As `WritableDataset` says."""
        found = self._objects.get(f"{self._root}/{case}/{layout.NODE}")
        return None if found is None or is_claim(found.data) else found.data

    @contextmanager
    def copied(self, case: str) -> Iterator[Path]:
        """As `WritableDataset` says."""
        with self._entry(case) as entry:
            download_tree(self._objects, f"{self._root}/{case}", entry / case)
            yield entry / case

    def strays(self) -> list[str]:
        """As `WritableDataset` says: also what a dead process left of a case that is not published."""
        return [stray.name for stray in self._strays()]

    def leftovers(self) -> list[Stray]:
        """The strays that `sweep` would remove, by the clock of this machine; it goes by the bucket's."""
        return [stray for stray in self._strays() if stray.is_left(datetime.now(UTC))]

    def delete(self, case: str) -> None:
        """As `WritableDataset` says."""
        check_name(case, "case")
        with self._entry(case) as entry, self._lock_case(case):
            found = self.look(case) is not None or self._held(case) is not None
            self._drop_held(case, entry)
            self._changing[case].remove()
        if not found:
            raise no_such_case(self.name, case)

    def destroy(self) -> None:
        """As `WritableDataset` says."""
        with self._alone() as lease:
            BucketRoot(self._objects, self.name).remove(lease)

    def destroy_unused(self) -> None:
        """As `WritableDataset` says."""
        with self._alone() as lease:
            held = self._objects.entries(f"{self._hidden}/held/")
            used = next(self._objects.entries(f"{self._hidden}/work/"), None) or not all(
                map(holds_claim, held)
            )
            if self.is_empty() and not used:
                BucketRoot(self._objects, self.name).remove(lease)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """As `WritableDataset` says."""
        lease = Lease(self._objects, f"{self._hidden}/work/{uuid.uuid4().hex}")
        lease.acquire()
        try:
            yield
        finally:
            lease.release(remove=True)

    def sweep(self) -> None:
        """As `WritableDataset` says; lists every object of the dataset."""
        for stray in self._strays():
            with self._if_dead(stray.name) as lease:
                if lease and self._is_left(stray.name):
                    CaseObjects(self._objects, f"{self._root}/{stray.name}", lease).remove()
        for entry in list(self._objects.entries(f"{self._hidden}/held/")):
            case = entry.key.rpartition("/")[2]
            if holds_claim(entry):
                with self._if_dead(case) as lease:
                    if lease and self._held(case) is None:
                        self._waiting_objects(case, lease).remove()
        for entry in list(self._objects.entries(f"{self._hidden}/work/")):
            lease = Lease(self._objects, entry.key)
            if lease.acquire(only_dead=True):
                lease.release(remove=True)

    def _strays(self) -> list[Stray]:
        return [stray for stray in find_strays(self._objects, self._root) if not self._is_locked(stray.name)]

    def _is_left(self, case: str) -> bool:
        """Whether what lies in the folder `case` is left over. Within its lease."""
        now, strays = self._objects.head(self._lock(case)), find_strays(self._objects, self._root, case)
        return bool(now and self.look(case) is None and any(stray.is_left(now.modified) for stray in strays))

    @contextmanager
    def _if_dead(self, case: str) -> Iterator[Lease | None]:
        """Hold the lease of `case` for the block, if nobody who lives does."""
        lease = Lease(self._objects, self._lock(case))
        if not lease.acquire(only_dead=True):
            yield None
            return
        try:
            yield lease
        finally:
            lease.release()

    def _current_spec(self) -> MapSpec:
        return BucketDataset(self._objects, self.name).spec

    def _entry(self, case: str) -> AbstractContextManager[Path]:
        if self._staging is None:
            return _temporary()
        return Staging(self._staging, self._staging).entry(case)

    @contextmanager
    def _lock_case(self, case: str) -> Iterator[None]:
        with Lease(self._objects, self._lock(case)) as lease:
            self._changing[case] = CaseObjects(self._objects, f"{self._root}/{case}", lease)
            self._waiting[case] = self._waiting_objects(case, lease)
            try:
                yield
            finally:
                del self._changing[case], self._waiting[case]

    @contextmanager
    def _alone(self) -> Iterator[Lease]:
        lease = BucketRoot(self._objects, self.name).lease()
        lease.acquire()
        try:
            yield lease
        finally:
            lease.release(remove=self._objects.get(f"{self._root}/{layout.NODE}") is None)

    def _lock(self, case: str) -> str:
        return f"{self._hidden}/locks/{case}"

    def _is_locked(self, case: str) -> bool:
        found = self._objects.head(self._lock(case))
        return found is not None and found.size > 0

    def _waiting_objects(self, case: str, lease: Lease) -> CaseObjects:
        return CaseObjects(self._objects, self._image(case), lease, node=f"{self._hidden}/held/{case}")

    def _with_image(
        self,
        case: str,
        entry: Path,
        record: CaseRecord,
        published: CaseRecord | None,
        *,
        drop_damaged: bool,
    ) -> CaseRecord:
        image, waiting = self._held(case), entry / "waiting"
        if image is not None:
            download_tree(self._objects, self._image(case), waiting)
            sound = is_sound_group(waiting / "image", "image")
        elif published is not None and published.image is not None:
            image = published.image
            download_tree(self._objects, f"{self._root}/{case}", waiting, wanted=_is_image)
            sound = is_sound_array(waiting, "image")
        else:
            return record
        if drop_damaged and not sound:
            return record
        check_image(case, record, image, sound=sound)
        (waiting / "image").rename(entry / NEW / "image")
        return dataclasses.replace(record, image=image)

    def _complete(self, entry: Path, case: str, record: CaseRecord) -> None:
        self._changing[case].publish(entry / NEW, case_node(entry / NEW, record))

    def _add_image(self, case: str, entry: Path, published: CaseRecord, image: ImageRecord) -> None:
        home = entry / "home"
        download_tree(self._objects, f"{self._root}/{case}", home, wanted=_is_maps_node)
        if published.image is not None and published.image.sha256 == image.sha256:
            with self.copied(case) as there:
                if is_sound_array(there, "image"):
                    return
        bare = case_node(home, dataclasses.replace(published, image=None))
        (entry / "image").rename(home / "image")
        node = case_node(home, dataclasses.replace(published, image=image))
        self._changing[case].publish_image(home / "image", bare, node)

    def _hold(self, case: str, entry: Path) -> None:
        held = entry / "held"
        held.mkdir()
        (entry / "image").rename(held / "image")
        record = read_json(held / "image" / layout.NODE)["attributes"][layout.KEY]
        self._waiting[case].publish(held, record)

    def _held(self, case: str) -> ImageRecord | None:
        found = self._objects.get(f"{self._hidden}/held/{case}")
        if found is None or is_claim(found.data):
            return None
        return ImageRecord.from_json(json.loads(found.data))

    def _drop_held(self, case: str, entry: Path) -> None:
        if self._waiting[case].is_used:
            self._waiting[case].remove()

    def _image(self, case: str) -> str:
        return f"{self._hidden}/images/{case}"


@contextmanager
def _temporary() -> Iterator[Path]:
    with TemporaryDirectory(prefix="dmapsvc-") as folder:
        yield Path(folder)


def _is_image(name: str) -> bool:
    return name.startswith("image/") or name == layout.NODE


def _is_maps_node(name: str) -> bool:
    return name.endswith(f"/{layout.NODE}") and not name.startswith("image/")
