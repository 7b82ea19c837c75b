"""The objects below one prefix of a bucket: read, listed, and written only where they are what they were.

A tag is an object's ETag. What the objects are for is not known here.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmapsvc.errors import BadInput, StoreAway, TooLarge
from dmapsvc.store.s3 import SILENCE, WHOLE, address_of, connect, load_obstore, split_url
from dmapsvc.store.storedfile import BLOCK

if TYPE_CHECKING:
    from obstore import PutMode
    from obstore.store import S3Store

CALL = timedelta(seconds=10)  # for a small request
_UPLOAD = timedelta(hours=1)  # for one object
_LARGEST = 5 * 2**30  # bytes; S3 takes no more in one request, and only one request is conditional
_AT_ONCE = 1000  # objects that one request may delete or list

_log = logging.getLogger(__name__)


class ChangedError(Exception):
    """An object is not what it was taken for; nothing was written."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An object as a listing shows it: its key, from the prefix, its bytes, its tag, and when it was put, by
    the bucket's clock.
    """

    key: str
    size: int
    tag: str
    modified: datetime


@dataclass(frozen=True, kw_only=True)
class Content:
    """All of a small object, and its tag."""

    data: bytes
    tag: str


class Objects:
    """What lies below the URL 's3://bucket/prefix'. Usable by several threads at once, not after a fork.

    Its methods raise StoreAway where the bucket does not answer or refuses; the log says more. Raises
    BadInput for another URL, or if `obstore` is not installed.
    """

    def __init__(self, url: str) -> None:
        self._obstore: Any = load_obstore(url)
        self._bucket, self._prefix = split_url(url)
        self.address = address_of(self._bucket, self._prefix)
        self._calls = self._connect(CALL, retries=3)
        self._once = self._connect(CALL, retries=0)
        self._uploads = self._connect(_UPLOAD, retries=3)
        self._downloads = self._connect(WHOLE, retries=3, read_timeout=SILENCE)

    def reading(self, below: str) -> S3Store:
        """What zarr reads the objects of the folder `below` through; its errors are for `reaching`."""
        prefix = f"{self._prefix}/{below}".strip("/")
        return connect(self._bucket, prefix, timeout=WHOLE, read_timeout=SILENCE, retries=3)

    def get(self, key: str) -> Content | None:
        """A small object; None if there is none."""
        with self.reaching(key):
            try:
                found = self._obstore.get(self._calls, key)
            except FileNotFoundError:
                return None
            return Content(data=bytes(found.bytes()), tag=found.meta["e_tag"])

    def entries(self, folder: str) -> Iterator[Entry]:
        """Every object below `folder`, page by page as they are asked for."""
        with self.reaching(folder):
            for page in self._obstore.list(self._calls, folder, chunk_size=_AT_ONCE):
                for meta in page:
                    yield _entry(meta["path"], meta)

    def folders(self) -> list[str]:
        """The folders right below the prefix."""
        with self.reaching(""):
            return list(self._obstore.list_with_delimiter(self._calls)["common_prefixes"])

    def put(self, key: str, data: bytes | memoryview, *, tag: str | None) -> str:
        """Write an object in place of the one that has `tag`, of none if that is None; its tag.

        Raises ChangedError if another is there, unless it is just what was to be written: then an earlier
        attempt came through and its answer did not.
        """
        self.check_size(key, len(data))
        mode: PutMode = "create" if tag is None else {"e_tag": tag}
        store = self._calls if len(data) < BLOCK else self._uploads
        known = self._obstore.exceptions
        with self.reaching(key):
            try:
                return self._written(self._obstore.put(store, key, data, mode=mode, use_multipart=False))
            except (known.AlreadyExistsError, known.PreconditionError):
                pass
            except FileNotFoundError as error:
                if tag is None:  # no such bucket
                    raise self._away(key, error) from None
        there = self._tag_if_same(key, data)
        if there is None:
            raise ChangedError(key)
        return there

    def check_size(self, key: str, size: int) -> None:
        """Raise TooLarge if an object cannot have `size` bytes."""
        if size > _LARGEST:
            raise TooLarge(f"{key}: {size:,} bytes", f"an object of S3 holds {_LARGEST:,}", "Crop it")

    def overwrite(self, key: str, data: bytes) -> None:
        """Write a small object, whatever is there."""
        with self.reaching(key):
            self._obstore.put(self._calls, key, data, use_multipart=False)

    def delete(self, keys: Collection[str]) -> None:
        """Remove at most 1,000 objects in one request, never sent twice; none of them need be there."""
        if keys:
            with self.reaching(next(iter(keys))):
                self._obstore.delete(self._once, list(keys))

    def download(self, key: str, path: Path) -> None:
        """Write an object into the new file `path`; raises FileNotFoundError if there is none."""
        with self.reaching(key), path.open("xb") as file:
            for block in self._obstore.get(self._downloads, key).stream(min_chunk_size=BLOCK):
                file.write(block)

    def head(self, key: str) -> Entry | None:
        """An object without its content; None if there is none."""
        with self.reaching(key):
            try:
                meta = self._obstore.head(self._calls, key)
            except FileNotFoundError:
                return None
            return _entry(key, meta)

    def part(self, entry: Entry, begin: int, end: int) -> Iterator[bytes]:
        """The bytes from `begin` to before `end` of the object that `entry` was; raises ChangedError if it is
        another by now.
        """
        options = {"range": (begin, end), "if_match": entry.tag}
        with self.reaching(entry.key):
            try:
                found = self._obstore.get(self._downloads, entry.key, options=options)
            except (self._obstore.exceptions.PreconditionError, FileNotFoundError):
                raise ChangedError(entry.key) from None
            return map(bytes, found.stream(min_chunk_size=BLOCK))

    @contextmanager
    def reaching(self, key: str) -> Iterator[None]:
        """Around calls of `obstore`: its errors become StoreAway."""
        known = self._obstore.exceptions
        try:
            yield
        except (known.PermissionDeniedError, known.UnauthenticatedError) as error:
            self._tell(key, error)
            raise StoreAway(
                "the store's bucket refuses us", remedy="See AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from None
        except known.BaseError as error:
            raise self._away(key, error) from None

    def _away(self, key: str, error: Exception) -> StoreAway:
        self._tell(key, error)
        return StoreAway(
            "the store's bucket does not answer as it should",
            remedy="See that the bucket is right, and AWS_REGION and AWS_ENDPOINT_URL",
        )

    def _tell(self, key: str, error: Exception) -> None:
        _log.warning("%s/%s: %s", self.address, key, str(error).partition("\n")[0])

    def _connect(self, timeout: timedelta, *, retries: int, read_timeout: timedelta | None = None) -> S3Store:
        return connect(
            self._bucket, self._prefix, timeout=timeout, read_timeout=read_timeout, retries=retries
        )

    def _written(self, result: Any) -> str:
        tag = result["e_tag"]
        if tag is None:
            _log.warning("%s: it gives no ETag", self.address)
            raise BadInput("the store's bucket gives no ETag", "publishing needs one", "Use another store")
        return str(tag)

    def _tag_if_same(self, key: str, data: bytes | memoryview) -> str | None:
        there = self.head(key)
        if there is None or there.size != len(data):
            return None
        same = self.get(key)
        return same.tag if same is not None and same.data == data else None


def _entry(key: str, meta: Any) -> Entry:
    return Entry(key=key, size=meta["size"], tag=meta["e_tag"], modified=meta["last_modified"])


def check_conditional(objects: Objects, key: str) -> None:
    """Raise BadInput unless the bucket heeds conditions; `key` is of an object that is made and removed."""
    tag = objects.put(key, b"1", tag=None)
    for condition in (None, f'"{"0" * 32}"'):
        try:
            objects.put(key, b"2", tag=condition)
        except ChangedError:
            continue
        _log.warning("%s: it writes whatever the condition", objects.address)
        raise BadInput(
            "the store's bucket writes whatever the condition",
            "publishing needs If-None-Match and If-Match",
            "Use a store that has conditional writes, as S3, MinIO and Ceph do",
        )
    objects.put(key, b"3", tag=tag)
    objects.delete([key])
