"""The objects of one case in a bucket: in which order they are put, so that no reader takes part of one case
and part of another for a case.

First a claim in place of its `zarr.json`, if that is still what it was when the lease was taken: from then on
the case is not there. Then what was there is removed, and all else is put, each object only where there is
none. Then the `zarr.json`, only where the claim still is. So of two processes that both believe to hold the
lease of the case, one alone comes through, and what it put is what is there. Arrays are not put on the tags
of what was there before: the same content has the same tag.
"""

from __future__ import annotations

import copy
import json
import mmap
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from dmapsvc.store import layout
from dmapsvc.store.absent import new_claim
from dmapsvc.store.lease import Lease, lost
from dmapsvc.store.objects import ChangedError, Objects

_AT_ONCE = 8  # objects put or fetched side by side; chosen: a case has eleven
_PER_REQUEST = 1000  # objects that S3 removes at once


class CaseObjects:
    """The objects in the folder `folder`, and the one that says that they are there: `node`, or if left out
    the `zarr.json` in it. Made within the `lease`, before anything is decided: what is changed later is what
    was there now, or nothing is.

    Its methods raise StoreAway where the bucket does not answer, or another process got in between.
    """

    def __init__(self, objects: Objects, folder: str, lease: Lease, *, node: str | None = None) -> None:
        self._objects, self._folder, self._lease = objects, folder, lease
        self._node = node or f"{folder}/{layout.NODE}"
        there = objects.head(self._node)
        self._tag = None if there is None else there.tag

    @property
    def is_used(self) -> bool:
        """Whether there was a node, or a claim in its place."""
        return self._tag is not None

    def publish(self, files: Path, node: Mapping[str, Any]) -> None:
        """Put the local folder `files`, with the `node`, in place of what is there; raises TooLarge."""
        self._check_sizes(files)
        self._claim(new_claim())
        self._put_tree(files, "")
        self._put_node(_written(node))

    def publish_image(self, image: Path, bare: Mapping[str, Any], node: Mapping[str, Any]) -> None:
        """Put the local folder `image` beside the maps that are there, whose `zarr.json` becomes `node`;
        raises TooLarge.

        The maps stay there all the while: in between, their `zarr.json` is `bare`, which has no image, with a
        note that makes it a claim.
        """
        self._check_sizes(image)
        self._claim(_with_note(bare))
        self._put_tree(image, "image/")
        self._put_node(_written(node))

    def remove(self) -> None:
        """Remove all of it; nothing need be there."""
        self._claim(new_claim())
        keys = [entry.key for entry in self._objects.entries(f"{self._folder}/")]
        _delete(self._objects, [*(key for key in keys if key != self._node), self._node], self._lease)

    def _check_sizes(self, files: Path) -> None:
        for name in _names(files):
            self._objects.check_size(f"{self._folder}/{name}", (files / name).stat().st_size)

    def _claim(self, claim: bytes) -> None:
        self._lease.check()
        self._put_node(claim)

    def _put_node(self, node: bytes) -> None:
        self._tag = self._put(self._node, node, self._tag)

    def _put_tree(self, files: Path, below: str) -> None:
        """Put what lies in the local folder `files` in place of what is `below`, '' or a folder's name with
        its slash; the node is left alone.
        """
        remove_all(self._objects, f"{self._folder}/{below}", self._lease, keep=(self._node,))

        def put(name: str) -> None:
            with (files / name).open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._put(f"{self._folder}/{below}{name}", memoryview(data), None)

        _together(put, _names(files))

    def _put(self, key: str, data: bytes | memoryview, tag: str | None) -> str:
        try:
            return self._objects.put(key, data, tag=tag)
        except ChangedError:
            raise lost(self._folder) from None


def download_tree(
    objects: Objects, folder: str, target: Path, *, wanted: Callable[[str], bool] = lambda name: True
) -> None:
    """Fetch the objects below `folder` whose names are `wanted` into the new local folder `target`."""
    target.mkdir()
    names = [entry.key.removeprefix(f"{folder}/") for entry in objects.entries(f"{folder}/")]

    def fetch(name: str) -> None:
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        objects.download(f"{folder}/{name}", path)

    _together(fetch, [name for name in names if wanted(name)])


def remove_all(objects: Objects, folder: str, lease: Lease, *, keep: Collection[str] = ()) -> None:
    """Remove every object below `folder` but those to `keep`, while `lease` is held."""
    _delete(objects, [entry.key for entry in objects.entries(folder) if entry.key not in keep], lease)


def _delete(objects: Objects, keys: Iterable[str], lease: Lease) -> None:
    left = iter(keys)
    while some := list(islice(left, _PER_REQUEST)):
        lease.check()
        objects.delete(some)


def _names(files: Path) -> list[str]:
    return [path.relative_to(files).as_posix() for path in sorted(files.rglob("*")) if path.is_file()]


def _together(work: Callable[[str], None], names: Collection[str]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as crew:
        for done in [crew.submit(work, name) for name in names]:
            done.result()


def _written(node: Mapping[str, Any]) -> bytes:
    return json.dumps(node, indent=1, allow_nan=False).encode()


def _with_note(node: Mapping[str, Any]) -> bytes:
    """The `zarr.json` of a case, with a note that nobody reads and no other has."""
    noted = copy.deepcopy(dict(node))
    noted["attributes"][layout.KEY]["claim"] = uuid.uuid4().hex
    return _written(noted)
