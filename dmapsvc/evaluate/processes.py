"""One call for each of many names, spread over processes that are spawned; none that dies takes others along.

What is called, and what memory it needs, is known elsewhere.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

Result = TypeVar("Result")

_called: list[Callable[[str], Any]] = []  # in a worker: what its process is for


def call_each(
    function: Callable[[str], Result],
    names: Sequence[str],
    *,
    jobs: int,
    died: Callable[[str], Result],
) -> Iterator[Result]:
    """`function(name)` of each of `names`, in the order in which they end, `jobs` of them at once.

    `function` pickles and raises nothing. With one job, or one name, it is called in this process. When a
    process is ended, by a system that is short of memory, say, what has not ended yet is called again with
    half the jobs; who ends its process even alone gives `died(name)`. To stop is to close the iterator: calls
    under way end, no other begins.
    """
    if jobs == 1 or len(names) == 1:
        yield from map(function, names)
        return
    left = list(names)
    while left:
        for name, result in _call_in_pool(function, left, jobs):
            left.remove(name)
            yield result
        if left and jobs == 1:
            yield died(left.pop(0))
        jobs = max(1, jobs // 2)


def _call_in_pool(
    function: Callable[[str], Result], names: Sequence[str], jobs: int
) -> Iterator[tuple[str, Result]]:
    """Names and results, until all are there or a process is ended; a single process takes them in order."""
    with ProcessPoolExecutor(
        min(jobs, len(names)), mp_context=get_context("spawn"), initializer=_begin, initargs=(function,)
    ) as pool:
        try:
            calls = {pool.submit(_call, name): name for name in names}
            for call in as_completed(calls):
                yield calls[call], call.result()
        except BrokenProcessPool:
            return
        finally:
            pool.shutdown(cancel_futures=True)


def _begin(function: Callable[[str], Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits
    _called.append(function)


def _call(name: str) -> Any:
    return _called[0](name)
