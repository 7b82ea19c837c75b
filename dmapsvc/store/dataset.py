"""A dataset in a local folder: made, listed, and its cases published, replaced and deleted, each whole or not
at all.

How a swap survives the death of its process is `staging.py`'s; what may replace what is said in
`rules.py`.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from zarr.storage import LocalStore

from dmapsvc.errors import Conflict, Damaged, NotFound
from dmapsvc.quantised import QuantisedMap
from dmapsvc.spec import MAP_VERSION, MapSpec, Spacing, check_name, map_id
from dmapsvc.store import layout
from dmapsvc.store.files import flush_folder, flush_tree, link_tree, read_json, replace_json, write_json
from dmapsvc.store.grid import check_image_grid
from dmapsvc.store.moments import channel_moments
from dmapsvc.store.reader import UNREADABLE, Reader, dataset_name, list_cases, unreadable
from dmapsvc.store.record import CaseRecord, ImageRecord, affine_rows
from dmapsvc.store.rules import Wanted, check_allowed, check_spec, check_vacant, same_map, superseded
from dmapsvc.store.sound import is_sound_array, is_sound_case, is_sound_group
from dmapsvc.store.staging import GONE, NEW, Staging
from dmapsvc.store.writing import Progress, case_node, write_image, write_maps


def always() -> bool:
    """The `wanted` of work that nobody can take back."""
    return True


def silent(fraction: float) -> None:
    """The `progress` of work that nobody watches."""


class Dataset(Reader):
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
                check_spec(present.name, present.spec, spec, used=bool(present.cases()))
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

    def __contains__(self, case: str) -> bool:
        return (self.path / check_name(case, "case") / layout.NODE).is_file()

    def record(self, case: str) -> CaseRecord | None:
        """The record of `case`, None if it is not published; reads its one small file and opens no array.

        Raises BadName, Damaged.
        """
        try:
            node = read_json(self.path / check_name(case, "case") / layout.NODE)
            return CaseRecord.from_json(node["attributes"][layout.KEY])
        except FileNotFoundError:
            return None
        except UNREADABLE as error:
            raise unreadable(case) from error

    def is_sound(self, case: str) -> bool:
        """Whether `case` is published and whole: its metadata are there, and every checksum of every shard is
        right.

        Reads the whole case. What is not sound is mended by publishing it again with `replace`.
        """
        record = self._published(check_name(case, "case"), damaged_is_none=True)
        return record is not None and is_sound_case(self.path / case, record)

    def publish(
        self,
        case: str,
        *,
        label: NDArray[Any],
        phi: QuantisedMap,
        spacing: Spacing | None,
        affine: NDArray[Any] | None,
        mask_sha256: str,
        revision: int = 1,
        replace: bool = False,
        wanted: Wanted = always,
        progress: Progress | None = None,
        seconds: Mapping[str, float] | None = None,
    ) -> CaseRecord:
        """Publish a label map and its Φ, both (z, y, x), as `case`, with its image if it has one or one is
        held.

        `label` keeps the mask's values; `seconds` by earlier stages go into the record. The same map at the
        same revision again changes nothing, unless `replace`: then it is written anew, whatever state the
        published one is in. An image that is damaged fails with Damaged; with `replace` it is left out, and
        the record returned has none.

        Raises Conflict if another mask is published and not `replace`, or the dataset's spec has changed;
        Superseded if a higher revision is published or `wanted()`, asked last, is False; GridMismatch if the
        image does not fit; Damaged.
        """
        check_name(case, "case")
        started = time.perf_counter()
        record = CaseRecord(
            id=map_id(dataset=self.name, case=case, mask_sha256=mask_sha256, spec=self.spec),
            spec=self.spec,
            map_version=MAP_VERSION,
            mask_sha256=mask_sha256,
            revision=revision,
            shape=(label.shape[0], label.shape[1], label.shape[2]),
            spacing=spacing,
            affine=affine_rows(affine),
            regions=phi.regions,
            absent=phi.absent,
            backend=phi.backend,
            quantisation=phi.quantisation,
            published=_now(),
        )
        with self._staging.entry(case) as entry:
            write_maps(entry / NEW, record, label, phi.values, progress or silent)
            with self._staging.lock_case(case):
                self._check_same_spec()
                published = self._published(case, damaged_is_none=replace)
                check_allowed(case, record, published, replace=replace, wanted=wanted)
                if published and same_map(record, published) and not replace:
                    return published
                record = self._with_image(case, entry, record, published, drop_damaged=replace)
                record = _timed(record, seconds or {}, started)
                self._complete(entry, case, record)
                self._drop_held(case, entry)
        return record

    def publish_image(
        self,
        case: str,
        image: NDArray[Any],
        *,
        spacing: Spacing | None,
        affine: NDArray[Any] | None,
        sha256: str,
        wanted: Wanted = always,
    ) -> bool:
        """Put an image, (z, y, x) or (c, z, y, x), beside the mask of `case`; the one that was there is
        replaced.

        True: it is published. False: the mask is not there yet, and the image is held until it is. Raises
        GridMismatch if it does not lie on the mask's grid, Superseded if `wanted()`, asked last, is False.
        """
        check_name(case, "case")
        record = ImageRecord(
            sha256=sha256,
            shape=(image.shape[-3], image.shape[-2], image.shape[-1]),
            dtype=image.dtype.name,
            moments=channel_moments(image),
            channels=image.shape[0] if image.ndim == 4 else 1,
            axes=image.ndim,
            spacing=spacing,
            affine=affine_rows(affine),
        )
        with self._staging.entry(case) as entry:
            write_image(entry, record, image)
            with self._staging.lock_case(case):
                self._check_same_spec()
                if not wanted():
                    raise superseded(case, "image")
                published = self._published(case)
                if published is None:
                    self._hold(case, entry)
                    return False
                check_image_grid(case, published, record)
                self._drop_held(case, entry)
                self._add_image(case, entry, published, record)
        return True

    def held_image(self, case: str) -> ImageRecord | None:
        """The image that waits for the mask of `case`, if one does."""
        return None if case in self else self._held(case)

    def delete(self, case: str) -> None:
        """Remove a case and the image held for it.

        Raises NotFound if there is neither, Conflict if a file that is no case has its name.
        """
        check_name(case, "case")
        with self._staging.entry(case) as entry, self._staging.lock_case(case):
            folder = self._staging.published(case)
            found = case in self or self._held(case) is not None
            self._drop_held(case, entry)
            if folder:
                folder.rename(entry / GONE)
                flush_folder(self.path)
        if not found:
            raise NotFound(f"case {case!r}", f"there is none of that name in dataset {self.name!r}")

    def destroy(self) -> None:
        """Remove the dataset with all its cases and held images."""
        with self._staging.lock_dataset():
            self._destroy()

    def destroy_unused(self) -> None:
        """Remove the dataset if it has no case, no held image, and nobody is at work in it."""
        with self._staging.lock_dataset():
            if not (self.cases() or self._staging.is_used()):
                self._destroy()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """For the block, be at work in the dataset: `destroy_unused` of other processes leaves it alone."""
        with self._staging.entry():
            yield

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
        """Link the case's image beside the new maps: the held one, never older than the published."""
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
        check_image_grid(case, record, image)
        if not sound:
            raise Damaged(
                f"case {case!r}: image: it is damaged",
                remedy="Send the image again first, or publish the mask with replace, which leaves it out",
            )
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

    def _published(self, case: str, *, damaged_is_none: bool = False) -> CaseRecord | None:
        try:
            return self.record(case)
        except Damaged:
            if damaged_is_none:
                return None
            raise

    def _check_same_spec(self) -> None:
        spec = Dataset(self.path).spec  # NotFound: it was deleted meanwhile
        if spec != self.spec:
            raise Conflict(
                f"dataset {self.name!r} was given another spec meanwhile", remedy="Submit the mask again"
            )


def _timed(record: CaseRecord, seconds: Mapping[str, float], started: float) -> CaseRecord:
    publish = round(time.perf_counter() - started, 4)
    return dataclasses.replace(record, seconds={**seconds, "publish": publish}, published=_now())


def _staging(path: Path, staging: Path | None) -> Staging:
    return Staging((staging or path.parent / f".{path.name}.staging").absolute(), path)


def _now() -> str:
    return datetime.now(UTC).isoformat()
