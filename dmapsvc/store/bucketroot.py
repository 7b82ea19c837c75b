"""The root of a dataset in a bucket: made, given another spec while it has no case, removed with all below.

A root that is to go, or to change, is changed first; then whoever took it for what it was, and holds the
lease of a case, is waited for. Whoever takes such a lease later looks at the root and sees what it is now.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping

from dmapsvc.errors import Conflict
from dmapsvc.spec import MapSpec
from dmapsvc.store import layout
from dmapsvc.store.absent import is_claim, new_claim
from dmapsvc.store.bucketcase import remove_all
from dmapsvc.store.bucketfiles import published_cases
from dmapsvc.store.lease import Lease, lost
from dmapsvc.store.objects import ChangedError, Content, Objects, check_conditional
from dmapsvc.store.reader import UNREADABLE
from dmapsvc.store.rules import check_spec

_log = logging.getLogger(__name__)


class BucketRoot:
    """The `zarr.json` of the dataset `name` below `objects`, and what goes with it."""

    def __init__(self, objects: Objects, name: str) -> None:
        self._objects, self._name = objects, name
        self._folder, self._hidden = f"{name}.zarr", f".{name}.zarr"
        self._key = f"{self._folder}/{layout.NODE}"
        self._lease_key = f"{self._hidden}/dataset"

    def is_made(self, spec: MapSpec, names: Mapping[int, str] | None) -> bool:
        """Whether it is there with this spec, and with these names if any are given."""
        there = self._objects.get(self._key)
        return there is not None and self._is_same(there, spec, names)

    def lease(self) -> Lease:
        """For who makes or removes the dataset."""
        return Lease(self._objects, self._lease_key)

    def make(self, spec: MapSpec, names: Mapping[int, str] | None, lease: Lease) -> None:
        """Make the dataset, or change its names, or its spec while it has no case. Within its `lease`.

        Raises Conflict if it has another spec and a case, or if something else is there; BadInput for a
        bucket that writes whatever the condition.
        """
        there = self._objects.get(self._key)
        if there is not None and is_claim(there.data):  # whoever removed it did not come to the end
            self.remove(lease)
            there = None
        if there is None:
            self._make_new(spec, names)
        elif not self._is_same(there, spec, names):
            self._change(there, spec, names)

    def remove(self, lease: Lease) -> None:
        """Remove the dataset and all that goes with it but its `lease`, which is held."""
        there = self._objects.get(self._key)
        if there is not None and not is_claim(there.data):
            self._put(new_claim(), there.tag)
        self._wait_for_cases()
        for folder in (self._folder, self._hidden):
            remove_all(self._objects, f"{folder}/", lease, keep=(self._key, self._lease_key))
        lease.check()
        self._objects.delete([self._key])

    def has_case(self) -> bool:
        """Whether a case is published; lists until there is one."""
        return next(published_cases(self._objects, self._folder), None) is not None

    def _make_new(self, spec: MapSpec, names: Mapping[int, str] | None) -> None:
        if next(self._objects.entries(f"{self._folder}/"), None) is not None:
            _log.warning("%s/%s: something else is there", self._objects.address, self._folder)
            raise Conflict(
                f"dataset {self._name!r}: something else is there",
                "wanted a dataset or nothing",
                "Choose another name",
            )
        check_conditional(self._objects, f"{self._hidden}/work/{uuid.uuid4().hex}")
        self._put(_node(spec, names or {}), None)

    def _change(self, there: Content, spec: MapSpec, names: Mapping[int, str] | None) -> None:
        present, kept = _read(there)
        if present != spec and self.has_case():
            check_spec(self._name, present, spec, used=True)
        tag = self._put(_node(spec, kept if names is None else names), there.tag)
        if present == spec:
            return
        self._wait_for_cases()
        if self.has_case():  # published before its publisher could see the new spec
            self._put(there.data, tag)
            check_spec(self._name, present, spec, used=True)

    def _wait_for_cases(self) -> None:
        """Wait for whoever changes a case now, until it is through or taken for dead."""
        for entry in list(self._objects.entries(f"{self._hidden}/locks/")):
            if entry.size:
                with Lease(self._objects, entry.key):
                    pass

    def _is_same(self, there: Content, spec: MapSpec, names: Mapping[int, str] | None) -> bool:
        if is_claim(there.data):
            return False
        try:
            present, kept = _read(there)
        except UNREADABLE:
            return True  # opening it says what is wrong
        return present == spec and (names is None or dict(names) == kept)

    def _put(self, data: bytes, tag: str | None) -> str:
        try:
            return self._objects.put(self._key, data, tag=tag)
        except ChangedError:
            raise lost(self._name) from None


def _node(spec: MapSpec, names: Mapping[int, str]) -> bytes:
    node = layout.group_node(layout.dataset_attributes(spec, names))
    return json.dumps(node, indent=1, allow_nan=False).encode()


def _read(node: Content) -> tuple[MapSpec, dict[int, str]]:
    record = json.loads(node.data)["attributes"][layout.KEY]
    return MapSpec.from_json(record["spec"]), {int(value): name for value, name in record["names"].items()}
