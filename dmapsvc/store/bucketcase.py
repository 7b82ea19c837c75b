"""The objects of one case in a bucket: in which order they are put, so that no reader takes part of one case
and part of another for a case.

First a claim in place of its `zarr.json`: from then on the case is not there. Then what was there is removed,
and all else is put, each object only where there is none. Then the `zarr.json`, only where the claim still
is. So of two processes that both believe to hold the lease of the case, one alone comes through, and what it
put is what is there. Not conditional on the tags of what was there before: the same content has the same tag.
"""

from __future__ import annotations

import json
import mmap
import uuid
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from dmapsvc.store import layout
from dmapsvc.store.absent import is_claim, new_claim
from dmapsvc.store.lease import Lease, lost
from dmapsvc.store.objects import ChangedError, Objects

_AT_ONCE = 8  # objects put or fetched side by side; chosen: a case has eleven
_PER_REQUEST = 1000  # objects that S3 removes at once


class CaseObjects:
    """The objects of the case in the folder `folder`, while its `lease` is held.

    Its methods raise StoreAway where the bucket does not answer, or another process got in between.
    """

    def __init__(self, objects: Objects, folder: str, lease: Lease) -> None:
        self._objects, self._folder, self._lease = objects, folder, lease

    def publish(self, files: Path, node: Mapping[str, Any]) -> None:
        """Put the local folder `files`, with the `zarr.json` `node`, in place of what is there."""
        there = self._objects.head(self._key(layout.NODE))
        claim = self.put(layout.NODE, new_claim(), None if there is None else there.tag)
        self.put_tree(files, "")
        self.put(layout.NODE, _written(node), claim)

    def publish_image(self, image: Path, node: Mapping[str, Any], *, first: bool) -> None:
        """Put the local folder `image` beside the maps that are there, whose `zarr.json` becomes `node`.

        A case that gets its `first` image stays there all the while: the claim is a note in its `zarr.json`.
        """
        there = self._objects.get(self._key(layout.NODE))
        note = _with_note(there.data) if first and there is not None else new_claim()
        claim = self.put(layout.NODE, note, None if there is None else there.tag)
        self.put_tree(image, "image/")
        self.put(layout.NODE, _written(node), claim)

    def put_tree(self, files: Path, below: str) -> None:
        """Put what lies in the local folder `files` in place of what is `below`, '' or a folder's name with
        its slash; the case's own `zarr.json` is left alone.
        """
        remove_all(self._objects, self._key(below), self._lease, keep=(self._key(layout.NODE),))
        names = [path.relative_to(files).as_posix() for path in sorted(files.rglob("*")) if path.is_file()]

        def put(name: str) -> None:
            with (files / name).open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self.put(below + name, memoryview(data), None)

        _together(put, names)

    def remove(self) -> None:
        """Remove the case; nothing need be there."""
        there = self._objects.get(self._key(layout.NODE))
        if there is not None and not is_claim(there.data):
            self.put(layout.NODE, new_claim(), there.tag)
        remove_all(self._objects, f"{self._folder}/", self._lease)

    def put(self, name: str, data: bytes | memoryview, tag: str | None) -> str:
        """Put the object `name` of the case where `tag` is there; raises StoreAway if it is not."""
        try:
            return self._objects.put(self._key(name), data, tag=tag)
        except ChangedError:
            raise lost(self._folder) from None

    def _key(self, name: str) -> str:
        return f"{self._folder}/{name}"


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
    keys = iter([entry.key for entry in objects.entries(folder) if entry.key not in keep])
    while some := list(islice(keys, _PER_REQUEST)):
        lease.check()
        objects.delete(some)


def _together(work: Callable[[str], None], names: Collection[str]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as crew:
        for done in [crew.submit(work, name) for name in names]:
            done.result()


def _written(node: Mapping[str, Any]) -> bytes:
    return json.dumps(node, indent=1, allow_nan=False).encode()


def _with_note(node: bytes) -> bytes:
    """The `zarr.json` of a case, as it was but for a note that nobody reads and no other has."""
    content = json.loads(node)
    content["attributes"][layout.KEY]["claim"] = uuid.uuid4().hex
    return json.dumps(content).encode()
