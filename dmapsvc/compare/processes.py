"""Tasks, each in a process of its own, so many at once. What the tasks are is not known here.

One that raises, or whose process is killed, fails alone. A process lives on a leash, the pipe to whoever
started it: once that is closed, by Ctrl-C or because the other end died, however it died, it gets the SIGINT
of a Ctrl-C, saves what it has, and ends. From the terminal's own Ctrl-C it is kept away, so that it gets one
and not two.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Generic, TypeVar

from dmapsvc.errors import Diverged, DmapsvcError

T = TypeVar("T")

Work = Callable[[T, Callable[[Any], None]], None]
"""What is done in a process: a function of a module that does a task. It tells news, whatever can be pickled;
KeyboardInterrupt is raised in it where it has to stop.
"""

_INTERRUPTED = 130  # 128 + SIGINT


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a task failed. `hopeless`: with what it was given it can only fail again: Diverged."""

    reason: str
    hopeless: bool = False


class Processes(Generic[T]):
    """Runs tasks by `work`, `at_once` processes side by side; `log` names the file for what a task prints."""

    def __init__(self, work: Work[T], *, at_once: int, log: Callable[[T], Path]) -> None:
        self._work, self._at_once, self._log = work, at_once, log
        self._running: list[_Child] = []

    def run(
        self,
        tasks: Mapping[str, T],
        on_news: Callable[[str, Any], None],
        on_end: Callable[[str, Failure | None], None],
        on_stop: Callable[[int], None] = lambda running: None,
    ) -> None:
        """Do all `tasks`, in their order; returns when the last has ended.

        `on_news` gets what each tells, `on_end` how each ended, None for well; both with the task's name.

        KeyboardInterrupt, as any error in here, stops the processes: each may save what it has, which is
        waited for, once `on_stop` was told how many there are; a second one kills them.
        """
        waiting = deque(tasks.items())
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self._at_once:
                    name, task = waiting.popleft()
                    self._running.append(_Child(name, self._work, task, self._log(task)))
                wait([part for child in self._running for part in child.parts])
                for child in list(self._running):
                    child.hear(on_news)
                    if not child.process.is_alive():
                        child.hear(on_news)
                        self._running.remove(child)
                        on_end(child.name, child.failure())
        except BaseException:
            self._stop(on_stop)
            raise

    def _stop(self, on_stop: Callable[[int], None]) -> None:
        try:
            for child in self._running:
                child.leash.close()
            if self._running:
                on_stop(len(self._running))
            for child in self._running:
                child.process.join()
        finally:
            for child in self._running:
                child.process.kill()
            self._running.clear()


class _Child:
    """A process that does one task, seen from the one that started it."""

    def __init__(self, name: str, work: Work[T], task: T, log: Path) -> None:
        context = get_context("spawn")  # torch's threads do not survive a fork
        self.name, self._told, self._log = name, None, log
        self._failure: Failure | None = None
        self._open = True
        self.leash, other = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=_do, args=(work, task, other, log), name=f"dmapsvc {name}"
        )
        self.process.start()
        other.close()

    @property
    def parts(self) -> list[Any]:
        """What to wait for: news, and the end."""
        return [self.process.sentinel, *([self.leash] if self._open else [])]

    def hear(self, on_news: Callable[[str, Any], None]) -> None:
        """Take what it has told by now."""
        while self._open and self.leash.poll():
            try:
                news = self.leash.recv()
            except (EOFError, OSError):  # it has ended
                self._open = False
                return
            if isinstance(news, Failure):
                self._failure = news
            else:
                on_news(self.name, news)

    def failure(self) -> Failure | None:
        """How it ended; None for well."""
        self.process.join()
        self.leash.close()
        code = self.process.exitcode or 0
        if self._failure is not None or code == 0:
            return self._failure
        if code < 0:
            return Failure(reason=f"its process was ended by {_signal_name(-code)}; {_MEMORY}{self._log}")
        return Failure(reason=f"its process ended with exit code {code}; what it printed is in {self._log}")


_MEMORY = "too little memory for so many at once is one cause; what it printed is in "


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in signal.valid_signals() else f"signal {number}"


def _do(work: Work[T], task: T, leash: Connection, log: Path) -> None:
    """The process: do the task, and tell it if that fails."""
    os.setsid()  # away from the terminal, whose Ctrl-C is for whoever holds the leash
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & has it ignored
    _print_to(log)
    threading.Thread(target=_watch, args=(leash, threading.get_ident()), daemon=True).start()

    def tell(news: object) -> None:
        with suppress(OSError):  # nobody hears it any more: the interrupt is on its way
            leash.send(news)

    try:
        work(task, tell)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except Exception as error:
        traceback.print_exc()
        tell(_failure(error, log))


def _failure(error: Exception, log: Path) -> Failure:
    if isinstance(error, DmapsvcError):
        return Failure(reason=error.detail, hopeless=isinstance(error, Diverged))
    return Failure(reason=f"{type(error).__name__}: {error}; where from, {log} says")


def _watch(leash: Connection, main: int) -> None:
    """Wait until the other end is closed, then interrupt the thread `main`."""
    try:
        leash.recv()
    except (EOFError, OSError):
        signal.pthread_kill(main, signal.SIGINT)


def _print_to(log: Path) -> None:
    """All that is printed from here on, by libraries and the interpreter too, is added to the file `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
