"""A stand-in for `Processes` that does its tasks in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from dmapsvc.compare.processes import Failure, T, Work
from dmapsvc.errors import Diverged, DmapsvcError


class InProcess:
    """`Processes`, one task after the other, in here."""

    def __init__(self, work: Work[T], *, at_once: int, log: Callable[[T], Path]) -> None:
        self._work: Work[Any] = work

    def run(
        self,
        tasks: Mapping[str, Any],
        on_news: Callable[[str, Any], None],
        on_end: Callable[[str, Failure | None], None],
        on_stop: Callable[[int], None],
    ) -> None:
        """Do all `tasks`."""
        for name, task in tasks.items():
            try:
                self._work(task, partial(on_news, name))
            except DmapsvcError as error:
                on_end(name, Failure(reason=error.detail, hopeless=isinstance(error, Diverged)))
            else:
                on_end(name, None)
