"""A dataset that can be changed, wherever it lies: what publishing is, in which order, and under which rules.

How a place keeps a change whole is its own affair: `dataset.py` in a folder, `bucket.py` in a bucket. What
may replace what is said in `rules.py`.
"""

from __future__ import annotations

import dataclasses
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dmapsvc.errors import Conflict, Damaged, NotFound
from dmapsvc.quantised import QuantisedMap
from dmapsvc.spec import MAP_VERSION, MapSpec, Spacing, check_name, map_id
from dmapsvc.store.grid import check_image_grid
from dmapsvc.store.layout import KEY
from dmapsvc.store.moments import channel_moments
from dmapsvc.store.reader import UNREADABLE, Reader, unreadable
from dmapsvc.store.record import CaseRecord, ImageRecord, affine_rows
from dmapsvc.store.rules import Wanted, check_allowed, same_map, superseded
from dmapsvc.store.sound import is_sound_case
from dmapsvc.store.staging import NEW
from dmapsvc.store.writing import Progress, write_image, write_maps


def always() -> bool:
    """The `wanted` of work that nobody can take back."""
    return True


def silent(fraction: float) -> None:
    """The `progress` of work that nobody watches."""


class WritableDataset(Reader, ABC):
    """A dataset whose cases are published, replaced and deleted, each whole or not at all.

    Any number of processes and threads may hold the same dataset.
    """

    @abstractmethod
    def look(self, case: str) -> bytes | None:
        """The `zarr.json` of `case` as it is now; None if the case is not published."""

    @abstractmethod
    def copied(self, case: str) -> AbstractContextManager[Path]:
        """For the block, a folder of this machine with the files of `case` as they are now, to be read."""

    @abstractmethod
    def strays(self) -> list[str]:
        """What lies in the dataset, by name, and is no case and no part of one."""

    def __contains__(self, case: str) -> bool:
        return self.look(check_name(case, "case")) is not None

    def record(self, case: str) -> CaseRecord | None:
        """The record of `case`, None if it is not published; reads its one small file and opens no array.

        Raises BadName, Damaged.
        """
        node = self.look(check_name(case, "case"))
        try:
            return None if node is None else CaseRecord.from_json(json.loads(node)["attributes"][KEY])
        except UNREADABLE as error:
            raise unreadable(case) from error

    def is_sound(self, case: str) -> bool:
        """Whether `case` is published and whole: its metadata are there, and every checksum of every shard is
        right.

        Reads the whole case. What is not sound is mended by publishing it again with `replace`.
        """
        record = self._published(check_name(case, "case"), damaged_is_none=True)
        if record is None:
            return False
        with self.copied(case) as folder:
            return is_sound_case(folder, record)

    @abstractmethod
    def is_empty(self) -> bool:
        """Whether no case is published; looks until there is one."""

    @abstractmethod
    def delete(self, case: str) -> None:
        """Remove a case and the image held for it.

        Raises NotFound if there is neither, Conflict if a file that is no case has its name.
        """

    @abstractmethod
    def destroy(self) -> None:
        """Remove the dataset with all its cases and held images."""

    @abstractmethod
    def destroy_unused(self) -> None:
        """Remove the dataset if it has no case, no held image, and nobody is at work in it."""

    @abstractmethod
    def at_work(self) -> AbstractContextManager[None]:
        """For the block, be at work in the dataset: `destroy_unused` of other processes leaves it alone."""

    @abstractmethod
    def sweep(self) -> None:
        """Undo and remove what dead processes left half done; what a living one works on stays."""

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
        with self._entry(case) as entry:
            write_maps(entry / NEW, record, label, phi.values, progress or silent)
            with self._lock_case(case):
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
        with self._entry(case) as entry:
            write_image(entry, record, image)
            with self._lock_case(case):
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

    @abstractmethod
    def _entry(self, case: str) -> AbstractContextManager[Path]:
        """A new local folder to write a case in, removed at the end."""

    @abstractmethod
    def _lock_case(self, case: str) -> AbstractContextManager[None]:
        """Be the only one to change `case`."""

    @abstractmethod
    def _current_spec(self) -> MapSpec:
        """The dataset's spec as it is now; raises NotFound if it was deleted."""

    @abstractmethod
    def _with_image(
        self,
        case: str,
        entry: Path,
        record: CaseRecord,
        published: CaseRecord | None,
        *,
        drop_damaged: bool,
    ) -> CaseRecord:
        """Bring the case's image, if it has one, to where it goes with the new maps: the held one, never
        older than the published. Within `_lock_case`.

        The record that is to be published. Raises GridMismatch, Damaged.
        """

    @abstractmethod
    def _complete(self, entry: Path, case: str, record: CaseRecord) -> None:
        """Give the maps in `entry/new` their record and publish them. Within `_lock_case`."""

    @abstractmethod
    def _add_image(self, case: str, entry: Path, published: CaseRecord, image: ImageRecord) -> None:
        """Put `entry/image` into the published case; the same one again changes nothing if it is sound.
        Within `_lock_case`.
        """

    @abstractmethod
    def _hold(self, case: str, entry: Path) -> None:
        """Keep `entry/image` until the mask of `case` comes. Within `_lock_case`."""

    @abstractmethod
    def _held(self, case: str) -> ImageRecord | None:
        """The image that is held for `case`, whether or not its mask came meanwhile."""

    @abstractmethod
    def _drop_held(self, case: str, entry: Path) -> None:
        """Forget the image held for `case`, if there is one. Within `_lock_case`."""

    def _published(self, case: str, *, damaged_is_none: bool = False) -> CaseRecord | None:
        try:
            return self.record(case)
        except Damaged:
            if damaged_is_none:
                return None
            raise

    def _check_same_spec(self) -> None:
        if self._current_spec() != self.spec:
            raise Conflict(
                f"dataset {self.name!r} was given another spec meanwhile", remedy="Submit the mask again"
            )


def check_image(case: str, record: CaseRecord, image: ImageRecord, *, sound: bool) -> None:
    """Raise GridMismatch or Damaged unless `image`, `sound` or not, may go with the maps of `record`."""
    check_image_grid(case, record, image)
    if not sound:
        raise Damaged(
            f"case {case!r}: image: it is damaged",
            remedy="Send the image again first, or publish the mask with replace, which leaves it out",
        )


def no_such_case(dataset: str, case: str) -> NotFound:
    """The error for a case that cannot be deleted because there is none."""
    return NotFound(f"case {case!r}", f"there is none of that name in dataset {dataset!r}")


def _timed(record: CaseRecord, seconds: Mapping[str, float], started: float) -> CaseRecord:
    publish = round(time.perf_counter() - started, 4)
    return dataclasses.replace(record, seconds={**seconds, "publish": publish}, published=_now())


def _now() -> str:
    return datetime.now(UTC).isoformat()
