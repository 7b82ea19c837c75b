"""A dataset in a folder: made, listed, and its cases published, replaced and deleted, each whole or not at
all.

What publishing is, wherever the dataset lies, is `writable.py`'s; how a swap survives the death of its
process is `staging.py`'s.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from zarr.storage import LocalStore

from dmapsvc.errors import NotFound
from dmapsvc.spec import MapSpec, check_name
from dmapsvc.store import layout
from dmapsvc.store.files import flush_folder, flush_tree, link_tree, read_json, replace_json, write_json
from dmapsvc.store.reader import dataset_name, has_case, list_cases
from dmapsvc.store.record import CaseRecord, ImageRecord
from dmapsvc.store.rules import check_spec, check_vacant
from dmapsvc.store.sound import is_sound_array, is_sound_group
from dmapsvc.store.staging import GONE, NEW, Staging
from dmapsvc.store.writable import WritableDataset, check_image, no_such_case
from dmapsvc.store.writing import case_node


class Dataset(WritableDataset):
    """The dataset in the folder `path`; `staging` is a folder on the same file system (default: a hidden
    sibling).

    Open it with `create` or `open`. Any number of processes and threads may hold the same dataset.
    """

    def __init__(self, path: Path, *, staging: Path | None = None) -> None:
        self.path = path.absolute()
        self._staging = _staging(self.path, staging)
        super().__init__(LocalStore(self.path, read_only=True), (), name=dataset_name(path))

    @classmethod
    def create(
        cls,
        path: Path,
        spec: MapSpec,
        *,
        names: Mapping[int, str] | None = None,
        staging: Path | None = None,
    ) -> Dataset:
        """Make a dataset, or find it made. The same spec again changes nothing but the names, if any are
        given.

        Raises Conflict if it has another spec and a published case, or if something else lies at `path`;
        BadName.
        """
        path = path.absolute()
        check_name(dataset_name(path), "dataset")
        staged = _staging(path, staging)
        path.parent.mkdir(parents=True, exist_ok=True)
        staged.sweep()
        with staged.lock_dataset(), staged.entry() as entry:
            node = layout.group_node(layout.dataset_attributes(spec, names or {}))
            if (path / layout.NODE).exists():
                present = cls(path, staging=staging)
                if present.spec != spec:
                    check_spec(present.name, present.spec, spec, used=not present.is_empty())
                if present.spec != spec or (names is not None and dict(names) != present.names):
                    replace_json(path / layout.NODE, node, temporary=entry)
            else:
                check_vacant(path)
                path.mkdir(exist_ok=True)
                replace_json(path / layout.NODE, node, temporary=entry)
                flush_folder(path.parent)
        return cls(path, staging=staging)

    @classmethod
    def open(cls, path: Path, *, staging: Path | None = None) -> Dataset:
        """Open a dataset that was made before; undoes what processes that died in it left half done.

        Raises NotFound, Damaged.
        """
        if not (path / layout.NODE).is_file():
            raise NotFound(
                f"{path}: no dataset", "wanted a folder made by dmapsvc", "Check the path, or create it"
            )
        dataset = cls(path, staging=staging)
        dataset._staging.sweep()
        return dataset

    def cases(self) -> list[str]:
        """The names of the cases published now, sorted."""
        return list_cases(self.path)

    def is_empty(self) -> bool:
        """As `WritableDataset` says."""
        return not has_case(self.path)

    def look(self, case: str) -> bytes | None:
        """As `WritableDataset` says."""
        try:
            return (self.path / case / layout.NODE).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    @contextmanager
    def copied(self, case: str) -> Iterator[Path]:
        """The case's own folder."""
        yield self.path / case

    def strays(self) -> list[str]:
        """As `WritableDataset` says."""
        entries = sorted(self.path.iterdir())
        strange = (entry for entry in entries if not (entry / layout.NODE).is_file() and entry.exists())
        return [entry.name for entry in strange if entry.name != layout.NODE]

    def delete(self, case: str) -> None:
        """As `WritableDataset` says."""
        check_name(case, "case")
        with self._staging.entry(case) as entry, self._staging.lock_case(case):
            folder = self._staging.published(case)
            found = case in self or self._held(case) is not None
            self._drop_held(case, entry)
            if folder:
                folder.rename(entry / GONE)
                flush_folder(self.path)
        if not found:
            raise no_such_case(self.name, case)

    def destroy(self) -> None:
        """As `WritableDataset` says."""
        with self._staging.lock_dataset():
            self._destroy()

    def destroy_unused(self) -> None:
        """As `WritableDataset` says."""
        with self._staging.lock_dataset():
            if self.is_empty() and not self._staging.is_used():
                self._destroy()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """As `WritableDataset` says."""
        with self._staging.entry():
            yield

    def sweep(self) -> None:
        """As `WritableDataset` says."""
        self._staging.sweep()

    def _destroy(self) -> None:
        with self._staging.entry() as entry:
            self._staging.drop_all_held(entry)
            if self.path.exists():
                self.path.rename(entry / GONE)
                flush_folder(self.path.parent)
        self._staging.remove()

    def _complete(self, entry: Path, case: str, record: CaseRecord) -> None:
        """Give the maps in `entry/new` their record and publish them."""
        write_json(entry / NEW / layout.NODE, case_node(entry / NEW, record))
        flush_tree(entry / NEW)
        self._staging.swap_in(entry, case)

    def _with_image(
        self,
        case: str,
        entry: Path,
        record: CaseRecord,
        published: CaseRecord | None,
        *,
        drop_damaged: bool,
    ) -> CaseRecord:
        """Link the case's image beside the new maps."""
        image, source = self._held(case), self._staging.held(case)
        if image is not None:
            sound = is_sound_group(source, "image")
        elif published is not None and published.image is not None:
            image, source = published.image, self.path / case / "image"
            sound = is_sound_array(self.path / case, "image")
        else:
            return record
        if drop_damaged and not sound:
            return record
        check_image(case, record, image, sound=sound)
        link_tree(source, entry / NEW / "image")
        return dataclasses.replace(record, image=image)

    def _add_image(self, case: str, entry: Path, published: CaseRecord, image: ImageRecord) -> None:
        """Put `entry/image` into the published case.

        The first image is renamed in and the record replaced after it; until then nothing mentions the image,
        and one that a dead process left unmentioned makes room. Another image for one that is mentioned would
        mix two states, so there the whole case is swapped, its maps hard-linked. The same one again changes
        nothing if it is sound.
        """
        home, record = self.path / case, dataclasses.replace(published, image=image)
        if published.image is None:
            if (home / "image").exists():
                (home / "image").rename(entry / GONE)
            (entry / "image").rename(home / "image")
            flush_folder(home)
            replace_json(home / layout.NODE, case_node(home, record), temporary=entry)
        elif published.image.sha256 != image.sha256 or not is_sound_array(home, "image"):
            (entry / NEW).mkdir()
            for array in ("label", "phi", layout.POSITIONS):
                link_tree(home / array, entry / NEW / array)
            (entry / "image").rename(entry / NEW / "image")
            self._complete(entry, case, record)

    def _hold(self, case: str, entry: Path) -> None:
        self._drop_held(case, entry)
        held = self._staging.held(case)
        held.parent.mkdir(exist_ok=True)
        (entry / "image").rename(held)
        flush_folder(held.parent)

    def _held(self, case: str) -> ImageRecord | None:
        try:
            node = read_json(self._staging.held(case) / layout.NODE)
        except FileNotFoundError:
            return None
        return ImageRecord.from_json(node["attributes"][layout.KEY])

    def _drop_held(self, case: str, entry: Path) -> None:
        if self._staging.held(case).exists():
            self._staging.held(case).rename(entry / "held")

    def _current_spec(self) -> MapSpec:
        return Dataset(self.path).spec

    def _entry(self, case: str) -> AbstractContextManager[Path]:
        return self._staging.entry(case)

    def _lock_case(self, case: str) -> AbstractContextManager[None]:
        return self._staging.lock_case(case)


def _staging(path: Path, staging: Path | None) -> Staging:
    return Staging((staging or path.parent / f".{path.name}.staging").absolute(), path)
