"""The same work on several things side by side, in threads that never keep the interpreter from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

READERS = 16  # threads for small files from afar: each costs the way there and back, and nothing else

Item = TypeVar("Item")
Result = TypeVar("Result")


def together(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> list[Result]:
    """`work` of each item, in the order of the items, by up to `threads` threads.

    The first error ends it and is raised as it was, once what was begun is through.
    """
    things = list(items)
    if len(things) <= 1:
        return [work(thing) for thing in things]
    results: dict[int, Result] = {}
    errors: list[BaseException] = []
    waiting: SimpleQueue[int] = SimpleQueue()
    for number in range(len(things)):
        waiting.put(number)

    def run() -> None:
        with suppress(Empty):
            while not errors:
                number = waiting.get_nowait()
                try:
                    results[number] = work(things[number])
                except BaseException as error:  # raised below, in the thread that waits
                    errors.append(error)

    crew = [threading.Thread(target=run, daemon=True) for _ in range(min(threads, len(things)))]
    for thread in crew:
        thread.start()
    try:
        for thread in crew:
            thread.join()
    except BaseException as error:  # an interrupt: the others need not go on
        errors.append(error)
        raise
    if errors:
        raise errors[0]
    return [results[number] for number in range(len(things))]
