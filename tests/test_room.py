"""Memory that is shared, and running alone."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from dmapsvc.errors import TooLarge
from dmapsvc.room import Room


def never() -> bool:
    return False


class Visitor:
    """A thread that asks for room, stays until it is let go, and writes its name when it is in."""

    def __init__(self, room: Room, name: str, size: int, log: list[str], *, alone: bool = False) -> None:
        self.inside = threading.Event()
        self._go = threading.Event()
        self._thread = threading.Thread(target=self._visit, args=(room, name, size, log, alone), daemon=True)
        self._thread.start()

    def _visit(self, room: Room, name: str, size: int, log: list[str], alone: bool) -> None:
        with room.hold(size, alone=alone, give_up=never):
            log.append(name)
            self.inside.set()
            self._go.wait(10)

    def leave(self) -> None:
        self._go.set()
        self._thread.join(10)


def test_small_ones_do_not_overtake_a_large_one_that_waits() -> None:
    room, log = Room(10), list[str]()
    first = Visitor(room, "first", 6, log)
    assert first.inside.wait(10)
    large = Visitor(room, "large", 10, log)
    assert not large.inside.wait(0.05)
    small = Visitor(room, "small", 1, log)
    assert not small.inside.wait(0.05)
    first.leave()
    assert large.inside.wait(10)
    large.leave()
    assert small.inside.wait(10)
    small.leave()
    assert log == ["first", "large", "small"]


def test_one_that_runs_alone_waits_for_all_and_lets_nobody_in() -> None:
    room, log = Room(10), list[str]()
    first = Visitor(room, "first", 1, log)
    assert first.inside.wait(10)
    alone = Visitor(room, "alone", 1, log, alone=True)
    assert not alone.inside.wait(0.05)
    first.leave()
    assert alone.inside.wait(10)
    next_one = Visitor(room, "next", 1, log)
    assert not next_one.inside.wait(0.05)
    alone.leave()
    assert next_one.inside.wait(10)
    next_one.leave()


def test_who_gives_up_holds_nothing_and_blocks_nobody() -> None:
    room = Room(10)
    with ExitStack() as stack:
        assert stack.enter_context(room.hold(10, alone=False, give_up=never))
        with room.hold(1, alone=False, give_up=lambda: True) as entered:
            assert not entered
        assert not room.wait_empty(0)
    assert room.wait_empty(0)
    with room.hold(10, alone=True, give_up=lambda: True) as entered:
        assert entered


def test_what_can_never_fit_is_refused() -> None:
    Room(10).check(10, "a.nii")
    with pytest.raises(TooLarge, match=r"a\.nii"):
        Room(10).check(11, "a.nii")
