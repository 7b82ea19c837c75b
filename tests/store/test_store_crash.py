"""Processes that are killed with −9 at every step, and several that publish at once.

A killed process is a forked child that ends itself before its n-th rename, link or removal of a folder, for
every n there is.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from dmapsvc.errors import NotFound, Superseded
from dmapsvc.spec import MapSpec
from dmapsvc.store import Dataset, Reader, check, files

if TYPE_CHECKING:
    from tests.store.conftest import Maps

A, B, IMAGE, OTHER_IMAGE = (letter * 64 for letter in "abij")
CHANGES = ("rename", "replace", "link", "rmdir")


class State(NamedTuple):
    """What of a case is published and held, by sha256."""

    mask: str | None
    image: str | None
    held: str | None = None


@pytest.fixture(autouse=True)
def _no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushing guards against a loss of power, not of a process, and takes most of these tests' time."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(files, "_syncfs", lambda descriptor: None)


@pytest.fixture
def acts(
    maps: Maps, other_maps: Maps, image: NDArray[Any], add_image: Callable[..., bool]
) -> dict[str, Callable[[Dataset], object]]:
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
        ([], "publish A", [State(None, None), State(A, None)]),
        (["publish A", "image I"], "replace by B", [State(A, IMAGE), State(B, IMAGE)]),
        (["image I"], "publish A", [State(None, None, IMAGE), State(A, IMAGE)]),
        (["publish A"], "image I", [State(A, None), State(A, IMAGE)]),
        (["publish A", "image I"], "image J", [State(A, IMAGE), State(A, OTHER_IMAGE)]),
        ([], "image I", [State(None, None), State(None, None, IMAGE)]),
        (["publish A", "image I"], "delete", [State(A, IMAGE), State(None, None)]),
    ],
)
def test_a_kill_at_any_step_leaves_the_old_or_the_new_and_the_retry_works(
    dataset: Dataset,
    acts: dict[str, Callable[[Dataset], object]],
    before: list[str],
    act: str,
    allowed: list[State],
) -> None:
    seen = set()
    for step in _steps():
        _delete(dataset)
        for name in before:
            acts[name](dataset)
        killed = _killed_at(step, lambda: acts[act](Dataset.open(dataset.path)))
        for case in (reader := Reader.local(dataset.path)).cases():
            assert list(check(dataset.path, case)) == []
            assert _read_all(reader, case)
        again = Dataset.open(dataset.path)
        seen.add(_state(again))
        assert list(check(again)) == []
        assert not _work(again)
        acts[act](again)
        assert _state(again) == allowed[-1]
        assert list(check(again)) == []
        if not killed:
            break
    assert seen <= set(allowed)
    assert seen == set(allowed)  # the kills came before and after the moment it happened


def test_a_kill_while_destroying_leaves_the_whole_dataset_or_none(dataset: Dataset, maps: Maps) -> None:
    for step in _steps():
        made = Dataset.create(dataset.path, dataset.spec)
        maps.publish(made, "a", A)
        killed = _killed_at(step, lambda: Dataset.open(dataset.path).destroy())
        if (dataset.path / "zarr.json").exists():
            assert list(check(Dataset.open(dataset.path))) == []
            assert Dataset.open(dataset.path).cases() == ["a"]
        Dataset.create(dataset.path, dataset.spec).destroy()
        assert list(dataset.path.parent.iterdir()) == []
        if not killed:
            break


def test_a_kill_while_creating_leaves_a_dataset_or_room_for_one(dataset: Dataset) -> None:
    for step in _steps():
        dataset.destroy()
        killed = _killed_at(step, lambda: Dataset.create(dataset.path, dataset.spec))
        assert Dataset.create(dataset.path, dataset.spec).cases() == []
        if not killed:
            break


def test_what_a_living_process_writes_is_not_swept(dataset: Dataset, maps: Maps) -> None:
    maps.publish(dataset, "a", A, progress=lambda fraction: Dataset.open(dataset.path).cases())
    assert list(check(dataset)) == []
    assert dataset.cases() == ["a"]


def test_of_many_at_once_the_highest_revision_stays_and_no_reader_sees_a_failing_case(
    dataset: Dataset, maps: Maps, other_maps: Maps, image: NDArray[Any], add_image: Callable[..., bool]
) -> None:
    maps.publish(dataset, "a", A)
    add_image(dataset, "a", image)
    read = threading.Event()
    ended = threading.Event()
    faults: list[object] = []
    poller = threading.Thread(target=_poll, args=(dataset, read, ended, faults))

    def publish(start: int) -> None:
        for revision in (start, 13 - start, start + 1):
            source, sha256 = (maps, A) if revision % 2 else (other_maps, B)
            try:
                source.publish(dataset, "a", sha256, revision=revision, replace=True)
            except Superseded:
                continue

    children = [_fork(lambda start=start: publish(start)) for start in (1, 3, 5)]  # type: ignore[misc]
    poller.start()
    assert [_exit_code(child) for child in children] == [0, 0, 0]
    read.wait(30)
    ended.set()
    poller.join()
    assert faults == []
    record = dataset.case("a").record
    assert (record.revision, record.mask_sha256) == (12, B)
    np.testing.assert_array_equal(dataset.case("a").read("image"), image)
    assert list(check(dataset)) == []


def test_several_may_create_at_once(dataset: Dataset) -> None:
    path = dataset.path.with_name("hands.zarr")
    children = [_fork(lambda: Dataset.create(path, MapSpec(labels=(1,)))) for _ in range(4)]
    assert [_exit_code(child) for child in children] == [0] * 4
    assert Dataset.open(path).spec == MapSpec(labels=(1,))


def _poll(dataset: Dataset, read: threading.Event, ended: threading.Event, faults: list[object]) -> None:
    while not ended.is_set():
        try:
            faults += list(check(dataset, "a"))
            _read_all(dataset, "a")
            read.set()
        except (NotFound, Superseded):
            continue
        except Exception as error:  # the test shows whatever it was
            faults.append(error)
            read.set()


def _read_all(reader: Reader, name: str) -> bool:
    """Read every array of a case; the Φ must be that of the label: 0 somewhere in each region."""
    case = reader.case(name)
    label, phi = case.read("label"), case.phi_values()
    if case.record.image is not None:
        assert case.read("image").shape == label.shape
    return all(phi[label == region.value].min() == 0 for region in case.record.regions)


def _delete(dataset: Dataset) -> None:
    try:
        dataset.delete("a")
    except NotFound:
        return


def _state(dataset: Dataset) -> State:
    held = dataset.held_image("a")
    record = dataset.case("a").record if "a" in dataset else None
    image = record.image if record else None
    return State(
        record.mask_sha256 if record else None, image.sha256 if image else None, held.sha256 if held else None
    )


def _work(dataset: Dataset) -> list[object]:
    return list((dataset.path.parent / f".{dataset.path.name}.staging" / "work").glob("*"))


def _steps() -> Iterator[int]:
    yield from range(1, 500)
    raise AssertionError("there was no end to the steps")


def _killed_at(step: int, act: Callable[[], object]) -> bool:
    """Run `act` in a process that is killed before its `step`-th change; whether it came that far."""

    def counted() -> None:
        left = step
        for name in CHANGES:
            real = getattr(os, name)

            def change(*args: Any, real: Callable[..., Any] = real, **how: Any) -> Any:
                nonlocal left
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **how)

            setattr(os, name, change)
        act()

    code = _exit_code(_fork(counted))
    assert code in (0, -signal.SIGKILL)
    return code != 0


def _fork(act: Callable[[], object]) -> int:
    """The process that runs `act` and ends with 0, or with 1 if it raised."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        act()
        code = 0
    finally:
        os._exit(code)


def _exit_code(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
