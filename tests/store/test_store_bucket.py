"""What a dataset in a bucket is beyond what it shares with one in a folder: kills, zombies, leases."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import obstore
import pytest
from numpy.typing import NDArray

from dmapsvc.errors import BadInput, Conflict, NotFound, StoreAway, Superseded, TooLarge
from dmapsvc.spec import MapSpec
from dmapsvc.store import check
from dmapsvc.store.absent import CLAIM_SIZE, new_claim
from dmapsvc.store.bucket import BucketDataset
from dmapsvc.store.lease import Lease
from dmapsvc.store.objects import Objects
from tests.store import shelf

if TYPE_CHECKING:
    from tests.store.conftest import Maps

A, B, IMAGE, OTHER_IMAGE = (letter * 64 for letter in "abij")
SPEC = MapSpec(labels=(5, 7))
CHANGED = ("knees.zarr/a/", ".knees.zarr/held/", ".knees.zarr/images/")
State = tuple[str | None, str | None, str | None]
"""What of a case is published and held: mask, image, held image, by sha256."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with shelf.moto() as url:
        yield url


@pytest.fixture
def objects(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Objects:
    bucket = f"b{abs(hash(request.node.name))}"
    shelf.use(monkeypatch, endpoint, bucket)
    return Objects(f"s3://{bucket}/lab")


@pytest.fixture
def knees(objects: Objects) -> BucketDataset:
    return BucketDataset.create(objects, "knees", SPEC)


@pytest.fixture
def acts(
    maps: Maps, other_maps: Maps, image: NDArray[Any], add_image: Callable[..., bool]
) -> dict[str, Callable[[Any], object]]:
    """What a process does to the case `a`."""
    return {
        "publish A": lambda dataset: maps.publish(dataset, "a", A),
        "replace by B": lambda dataset: other_maps.publish(dataset, "a", B, replace=True),
        "image I": lambda dataset: add_image(dataset, "a", image, IMAGE),
        "image J": lambda dataset: add_image(dataset, "a", image + 1, OTHER_IMAGE),
        "delete": _delete,
    }


@pytest.mark.parametrize(
    ("before", "act", "allowed"),
    [
        ([], "publish A", [(None, None, None), (A, None, None)]),
        (["publish A", "image I"], "replace by B", [(A, IMAGE, None), (None, None, None), (B, IMAGE, None)]),
        (["image I"], "publish A", [(None, None, IMAGE), (A, IMAGE, None)]),
        (["publish A"], "image I", [(A, None, None), (A, IMAGE, None)]),
        (["publish A", "image I"], "image J", [(A, IMAGE, None), (A, None, None), (A, OTHER_IMAGE, None)]),
        ([], "image I", [(None, None, None), (None, None, IMAGE)]),
        (["publish A", "image I"], "delete", [(A, IMAGE, None), (None, None, None)]),
    ],
)
def test_a_death_between_any_two_writes_leaves_the_old_case_none_or_the_new(
    objects: Objects,
    knees: BucketDataset,
    monkeypatch: pytest.MonkeyPatch,
    acts: dict[str, Callable[[Any], object]],
    before: list[str],
    act: str,
    allowed: list[State],
) -> None:
    monkeypatch.setattr("dmapsvc.store.lease.DEAD_AFTER", 0.04)
    seen = set()
    for step in range(1, 100):
        _delete(knees)
        for name in before:
            acts[name](knees)
        with shelf.dying(monkeypatch, step) as left, contextlib.suppress(shelf.DiedError):
            acts[act](BucketDataset(objects, "knees"))
        seen.add(_state(knees))
        assert [f for f in check(knees) if f.case is not None] == []
        if left[0] > 0:
            break
    assert seen == set(allowed)
    knees.sweep()
    assert list(check(knees)) == []


@pytest.mark.parametrize(
    ("before", "act"), [("publish A", "replace by B"), ("publish A", "image I"), (None, "publish A")]
)
def test_of_two_that_both_believe_to_hold_the_lease_one_comes_through(
    knees: BucketDataset,
    maps: Maps,
    monkeypatch: pytest.MonkeyPatch,
    acts: dict[str, Callable[[Any], object]],
    before: str | None,
    act: str,
) -> None:
    """A process stalls before each of its looks and writes in turn, is taken for dead, and goes on once
    another has published. Only an image goes beside what it found there.
    """

    def other() -> None:
        maps.publish(knees, "a", "c" * 64, revision=9, replace=True)

    for came_through in _stalled(knees, monkeypatch, acts, [before] if before else [], act, other):
        record = knees.record("a")
        assert record is not None
        assert (record.mask_sha256, record.revision) == ("c" * 64, 9)
        assert came_through == (record.image is not None)
        assert list(check(knees)) == []


def test_of_two_that_hold_an_image_one_comes_through(
    knees: BucketDataset,
    maps: Maps,
    image: NDArray[Any],
    monkeypatch: pytest.MonkeyPatch,
    acts: dict[str, Callable[[Any], object]],
) -> None:
    """The record and the voxels that wait are one image's, wherever the first stalls."""

    def other() -> None:
        acts["image J"](knees)

    for came_through in _stalled(knees, monkeypatch, acts, [], "image I", other):
        maps.publish(knees, "a", A)
        sha256, values = (IMAGE, image) if came_through else (OTHER_IMAGE, image + 1)
        assert _state(knees) == (A, sha256, None)
        np.testing.assert_array_equal(knees.case("a").read("image"), values)
        assert list(check(knees)) == []


def _stalled(
    knees: BucketDataset,
    monkeypatch: pytest.MonkeyPatch,
    acts: dict[str, Callable[[Any], object]],
    before: list[str],
    act: str,
    other: Callable[[], None],
) -> Iterator[bool]:
    """For each request of `act` for the case or its held image: whether it came through, after it stalled
    before that request, with its lease just looked at, while `other` was done.
    """
    monkeypatch.setattr("dmapsvc.store.lease.DEAD_AFTER", 0.04)
    monkeypatch.setattr("dmapsvc.store.bucketcase._AT_ONCE", 1)
    for step in range(1, 100):
        _delete(knees)
        for name in before:
            acts[name](knees)
        left, came_through = step, True
        with monkeypatch.context() as patch:
            for call in ("get", "head", "put", "overwrite"):
                real = getattr(Objects, call)

                def stalling(self: Objects, key: str, *args: Any, real: Any = real, **how: Any) -> Any:
                    nonlocal left
                    left -= key.startswith(CHANGED)
                    if left == 0:
                        left = -1
                        patch.undo()
                        other()
                    return real(self, key, *args, **how)

                patch.setattr(Objects, call, stalling)
            try:
                acts[act](BucketDataset(knees._objects, "knees"))
            except (StoreAway, Superseded):
                came_through = False
        if left > 0:
            assert came_through
            assert step > 8
            return
        yield came_through
    raise AssertionError("there was no end to the steps")


def test_an_image_that_is_sent_again_after_a_death_goes_beside_the_maps(
    objects: Objects,
    knees: BucketDataset,
    monkeypatch: pytest.MonkeyPatch,
    acts: dict[str, Callable[[Any], object]],
) -> None:
    for step in range(1, 100):
        _delete(knees)
        acts["publish A"](knees)
        acts["image I"](knees)
        with shelf.dying(monkeypatch, step) as left, contextlib.suppress(shelf.DiedError):
            acts["image J"](BucketDataset(objects, "knees"))
        assert acts["image J"](knees)
        knees.sweep()
        assert _state(knees) == (A, OTHER_IMAGE, None)
        if left[0] > 0:
            assert step > 5
            return
    raise AssertionError("there was no end to the steps")


def test_a_copy_in_progress_is_left_alone(
    objects: Objects, knees: BucketDataset, maps: Maps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another tool puts the `zarr.json` of a case last; what nobody touched for long, and is ours, goes."""
    maps.publish(knees, "a", A)
    for key in ("copied/label/0/zarr.json", "notes/readme", "copied/phi/zarr.json", "_x/phi/zarr.json"):
        objects.overwrite(f"knees.zarr/{key}", b"{}")
    objects.overwrite("knees.zarr/dead/zarr.json", new_claim())
    objects.overwrite("knees.zarr/dead/phi/zarr.json", b"{}")
    objects.overwrite("knees.zarr/loose", b"?")
    assert knees.strays() == ["_x", "copied", "dead", "loose", "notes"]
    assert [(stray.name, stray.size) for stray in knees.leftovers()] == [("dead", CLAIM_SIZE + 2)]
    knees.sweep()
    assert knees.strays() == ["_x", "copied", "loose", "notes"]
    monkeypatch.setattr("dmapsvc.store.bucketstrays._COPYING", timedelta(days=-1))
    assert [stray.name for stray in knees.leftovers()] == ["copied"]
    knees.sweep()
    assert knees.strays() == ["_x", "loose", "notes"]
    assert knees.cases() == ["a"]


def test_what_a_dead_process_left_of_a_held_image_goes(
    objects: Objects,
    knees: BucketDataset,
    monkeypatch: pytest.MonkeyPatch,
    acts: dict[str, Callable[[Any], object]],
) -> None:
    with shelf.dying(monkeypatch, 4), contextlib.suppress(shelf.DiedError):
        acts["image I"](BucketDataset(objects, "knees"))
    assert list(objects.entries(".knees.zarr/images/"))
    knees.sweep()
    assert not list(objects.entries(".knees.zarr/images/"))
    assert not list(objects.entries(".knees.zarr/held/"))
    knees.destroy_unused()
    with pytest.raises(NotFound):
        BucketDataset(objects, "knees")


def test_what_is_too_large_for_the_bucket_takes_nothing_away(
    knees: BucketDataset,
    maps: Maps,
    monkeypatch: pytest.MonkeyPatch,
    acts: dict[str, Callable[[Any], object]],
) -> None:
    acts["publish A"](knees)
    acts["image I"](knees)
    monkeypatch.setattr("dmapsvc.store.objects._LARGEST", 2000)
    for act in ("replace by B", "image J"):
        with pytest.raises(TooLarge, match="an object of S3 holds"):
            acts[act](knees)
    assert _state(knees) == (A, IMAGE, None)
    assert list(check(knees)) == []


def test_a_spec_that_is_refused_was_never_there(
    objects: Objects, knees: BucketDataset, maps: Maps, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps.publish(knees, "a", A)
    with shelf.counted(monkeypatch, "knees.zarr/zarr.json") as written, pytest.raises(Conflict):
        BucketDataset.create(objects, "knees", MapSpec(labels=(5,)))
    assert written == []


def test_a_process_killed_while_it_publishes_is_followed_by_another(
    objects: Objects, knees: BucketDataset, maps: Maps, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps.publish(knees, "a", A)
    url = objects.address.rpartition(" ")[2]
    code = KILLED.format(url=url)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    killed = subprocess.run([sys.executable, "-c", code], env=environment, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert knees.record("a") is None
    assert knees.strays() == []  # the lease of the dead one stands: it may still live
    maps.publish(knees, "a", B, revision=2)
    assert list(check(knees)) == []
    assert knees.record("a").mask_sha256 == B  # type: ignore[union-attr]


KILLED = """
import os, signal, obstore
import numpy as np
from dmapsvc.quantised import QuantisedMap
from dmapsvc.region import Region
from dmapsvc.spec import Quantisation
from dmapsvc.store.stores import open_dataset_at

real, left = obstore.put, [5]
def put(*args, **how):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **how)
obstore.put = put

dataset = open_dataset_at("{url}/knees.zarr")
only = Region(value=0, voxels=8, maximum=0.0, mean_phi=0.0, degenerate=True)
phi = QuantisedMap(values=np.zeros((2, 2, 2), np.uint16), quantisation=Quantisation(scale_factor=1 / 64),
    regions=(only,), absent=(5, 7), spec=dataset.spec, backend="scipy")
dataset.publish("a", label=np.zeros((2, 2, 2), np.uint8), phi=phi, spacing=None, affine=None,
    mask_sha256="d" * 64, replace=True)
"""


def test_a_bucket_that_writes_whatever_the_condition_is_refused(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = obstore.put

    def put(store: Any, key: str, data: Any, *, mode: Any = None, **how: Any) -> Any:
        return real(store, key, data, **how)

    monkeypatch.setattr(obstore, "put", put)
    with pytest.raises(BadInput, match="If-None-Match and If-Match") as refused:
        BucketDataset.create(objects, "hands", SPEC)
    assert "s3://" not in str(refused.value)


def test_a_holder_that_shows_life_is_waited_for(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    objects.overwrite("locks/a", b"1")
    monkeypatch.setattr("time.sleep", lambda seconds: objects.overwrite("locks/a", b"2"))
    assert not Lease(objects, "locks/a").acquire(only_dead=True)
    monkeypatch.setattr("time.sleep", lambda seconds: objects.overwrite("locks/a", b""))
    with Lease(objects, "locks/a") as lease:
        lease.check()
    assert objects.get("locks/a").data == b""  # type: ignore[union-attr]


def test_a_holder_that_another_followed_removes_nothing(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmapsvc.store.lease.TTL", 0.2)
    with Lease(objects, "locks/a") as lease:
        objects.overwrite("locks/a", b"another")
        assert lease._beating is not None
        lease._beating.join(30)  # it ends once it finds another's word
        with pytest.raises(StoreAway, match="another may have taken over"):
            lease.check()
    assert objects.get("locks/a").data == b"another"  # type: ignore[union-attr]


def test_a_write_whose_answer_was_lost_is_known_again(objects: Objects) -> None:
    tag = objects.put("a", b"one", tag=None)
    assert objects.put("a", b"one", tag=None) == tag


def test_what_is_no_dataset_there_is_told(
    objects: Objects, knees: BucketDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFound, match="'hips'"):
        BucketDataset(objects, "hips")
    objects.overwrite("hips.zarr/readme", b"?")
    with pytest.raises(Conflict, match="something else is there") as refused:
        BucketDataset.create(objects, "hips", SPEC)
    assert "s3://" not in str(refused.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(Objects, "_connect", _impatient)
    with pytest.raises(StoreAway, match="does not answer") as caught:
        Objects("s3://shelf/lab").get("a")
    assert "127.0.0.1" not in str(caught.value)


def _impatient(self: Objects, timeout: Any, *, retries: int, read_timeout: Any = None) -> Any:
    from dmapsvc.store.s3 import connect

    return connect("shelf", "lab", timeout=timeout)


def _delete(dataset: BucketDataset) -> None:
    with contextlib.suppress(NotFound):
        dataset.delete("a")


def _state(dataset: BucketDataset) -> State:
    record, held = dataset.record("a"), dataset.held_image("a")
    image = record.image if record else None
    return (
        record.mask_sha256 if record else None,
        image.sha256 if image else None,
        held.sha256 if held else None,
    )
