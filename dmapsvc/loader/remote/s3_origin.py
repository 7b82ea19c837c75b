"""A dataset in an S3 bucket: the folder `<dataset>.zarr`, published there or copied there by any tool.

How it is reached is `store.s3`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dmapsvc.client import FilePart
from dmapsvc.errors import BadInput, DmapsvcError, ServerUnreachable
from dmapsvc.spec import check_name
from dmapsvc.store.absent import CLAIM_SIZE, is_claim
from dmapsvc.store.layout import NODE
from dmapsvc.store.s3 import SILENCE, address_of, connect, load_obstore, split_url

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult

BLOCK = 1 << 20  # bytes handed on at once, at least


class S3Origin:
    """The dataset at 's3://bucket/prefix/knees.zarr'.

    Raises BadInput for another URL, if `obstore` is not installed, and in a process that was forked from one
    that used it: its threads do not come along, and reading would hang.
    """

    def __init__(self, url: str) -> None:
        obstore = load_obstore(url)
        bucket, prefix = split_url(url) if urlsplit(url).netloc else ("", "")
        if not prefix.endswith(".zarr"):
            raise BadInput(url, "a dataset in S3 is like s3://bucket/prefix/knees.zarr")
        self.name = check_name(prefix.rpartition("/")[2].removesuffix(".zarr"), "dataset")
        self.address = address_of(bucket, prefix)
        self._obstore = obstore
        self._store = connect(bucket, prefix, read_timeout=SILENCE)

    def cases(self) -> list[str]:
        """The names of the cases there now, sorted: every folder with a `zarr.json`."""
        with self._reaching(""):
            pages = self._obstore.list(self._store, chunk_size=1000)
            found = [entry["path"] for page in pages for entry in page if entry["size"] != CLAIM_SIZE]
        cases = (path.removesuffix(f"/{NODE}") for path in found if path.endswith(f"/{NODE}"))
        return sorted(case for case in cases if "/" not in case)

    def read(self, key: str) -> bytes | None:
        """The small file `key`; None if there is none."""
        with self._reaching(key):
            found = self._get(key, {})
            content = None if found is None else bytes(found.bytes())
            return None if content is None or is_claim(content) else content

    @contextmanager
    def part(self, key: str, begin: int, tag: str | None) -> Iterator[FilePart | None]:
        """The file `key`, or what is left of it, as `Origin.part` says."""
        with self._reaching(key):
            found = None
            if begin and tag is not None:
                try:
                    found = self._get(key, {"range": {"offset": begin}, "if_match": tag})
                except self._obstore.exceptions.PreconditionError:
                    found = None  # another file by now: the whole of it
            found = found or self._get(key, {})
            yield None if found is None else _part(found)

    def _get(self, key: str, options: GetOptions) -> GetResult | None:
        try:
            found: GetResult = self._obstore.get(self._store, key, options=options)
        except FileNotFoundError:
            return None
        return found

    @contextmanager
    def _reaching(self, key: str) -> Iterator[None]:
        known = self._obstore.exceptions
        try:
            yield
        except (known.PermissionDeniedError, known.UnauthenticatedError):
            raise BadInput(
                f"{self._at(key)}: reading it is not allowed",
                remedy="See AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or set AWS_SKIP_SIGNATURE=true "
                "for a bucket that all may read",
            ) from None
        except known.BaseError as error:
            raise self._unreachable(key, error) from None

    def _unreachable(self, key: str, error: Exception) -> DmapsvcError:
        reason = str(error).partition("\n")[0]
        return ServerUnreachable(
            f"{self._at(key)}: {reason}",
            remedy="See that the bucket is right, and AWS_REGION and AWS_ENDPOINT_URL",
        )

    def _at(self, key: str) -> str:
        return f"{self.address}/{key}".rstrip("/")


def _part(found: GetResult) -> FilePart:
    meta = found.meta
    tag = meta["e_tag"]
    if tag is not None and tag.startswith("W/"):
        tag = None
    blocks = map(bytes, found.stream(min_chunk_size=BLOCK))
    return FilePart(begin=found.range[0], size=meta["size"], tag=tag, blocks=blocks)
