from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from dmapsvc.errors import Damaged
from dmapsvc.loader.ahead import Ahead


def _ahead(
    make: Callable[[int], int], numbers: Iterator[int], *, threads: int = 3, most: int = 5
) -> Ahead[int]:
    return Ahead(lambda: make, numbers, threads=threads, most=most)


def _take_all(ahead: Ahead[int]) -> list[int]:
    return list(ahead)


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("dmapsvc-ahead")]


def _wait_for(condition: Callable[[], bool]) -> bool:
    patience = time.monotonic() + 10
    while not condition() and time.monotonic() < patience:
        time.sleep(0.005)
    return condition()


def test_things_come_in_order_whichever_is_made_first() -> None:
    def make(number: int) -> int:
        time.sleep(0.003 * (number % 3 == 0))
        return number**2

    assert list(_ahead(make, iter(range(3, 60, 2)))) == [number**2 for number in range(3, 60, 2)]


def test_no_more_is_made_than_was_asked_for() -> None:
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        return number

    ahead = _ahead(make, count(), threads=3, most=5)
    assert _wait_for(lambda: len(made) == 5)
    assert next(ahead) == 0
    assert _wait_for(lambda: len(made) == 6)
    time.sleep(0.02)
    assert sorted(made) == list(range(6))
    ahead.close()


def test_the_first_is_made_alone() -> None:
    begun, let_go = [], threading.Event()

    def make(number: int) -> int:
        begun.append(number)
        let_go.wait(10)
        return number

    ahead = _ahead(make, count())
    assert _wait_for(lambda: begun == [0])
    time.sleep(0.05)
    assert begun == [0]
    let_go.set()
    assert [next(ahead) for _ in range(3)] == [0, 1, 2]
    ahead.close()


def test_an_error_comes_as_it_was_raised_when_its_turn_comes() -> None:
    damage = Damaged("case 'b': phi: chunk 3 fails its checksum")

    def make(number: int) -> int:
        if number == 4:
            raise damage
        return number

    ahead = _ahead(make, count())
    assert [next(ahead) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(Damaged) as caught:
        next(ahead)
    assert caught.value is damage
    ahead.close()


def test_a_thread_that_cannot_start_says_so() -> None:
    def start() -> Callable[[int], int]:
        raise Damaged("no stream")

    ahead = Ahead(start, count(), threads=2, most=2)
    ahead.wait_started()
    with pytest.raises(Damaged, match="no stream"):
        next(ahead)
    ahead.close()


def test_closed_it_has_no_threads_and_nothing_more_to_take() -> None:
    ahead = _ahead(lambda number: number, count())
    assert next(ahead) == 0
    ahead.close()
    assert not _threads()
    assert list(ahead) == []


def test_who_waits_is_told_when_it_is_closed() -> None:
    def make(number: int) -> int:
        time.sleep(0.2)
        return number

    ahead = _ahead(make, count(), threads=1)
    threading.Timer(0.02, ahead.close).start()
    assert list(ahead) == []


def test_collected_it_leaves_no_threads() -> None:
    ahead = _ahead(lambda number: number, count())
    assert next(ahead) == 0
    del ahead
    gc.collect()
    assert _wait_for(lambda: not _threads())


def test_a_fork_leaves_its_parents_threads_alone() -> None:
    ahead = _ahead(lambda number: number, count())
    assert next(ahead) == 0
    child = os.fork()
    if child == 0:
        ahead.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert len(_threads()) == 3
    assert next(ahead) == 1
    ahead.close()


_SCRIPT = """
    import sys, time
    from itertools import count
    from dmapsvc.loader.ahead import Ahead

    def make(number):
        time.sleep(0.05 if number < 2 else {seconds})
        return number

    ahead = Ahead(lambda: make, count(), threads=2, most=4)
    print(next(ahead), flush=True)
    {then}
"""


def _run(then: str, seconds: float = 0.05) -> subprocess.Popen[str]:
    script = textwrap.dedent(_SCRIPT).format(then=then, seconds=seconds)
    return subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_the_interpreter_ends_without_a_word() -> None:
    process = _run("sys.exit(3)")
    assert process.communicate(timeout=30) == ("0\n", "")
    assert process.returncode == 3


def test_ctrl_c_ends_a_wait() -> None:
    process = _run("list(ahead)", seconds=0.5)
    assert process.stdout is not None
    assert process.stdout.readline() == "0\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert errors.rstrip().endswith("KeyboardInterrupt")
