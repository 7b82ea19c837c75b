"""A worker process whose jobs do what their file name says; run as `python -m tests.jobs.fake_worker`.

Standard input: one line of settings, then its end to stop. What happened is left as files in `<data>/seen`.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from dmapsvc.errors import BadLabels, DeviceLost, NotFound, SourceAway, Stalled, Superseded
from dmapsvc.jobs import Device, Request
from dmapsvc.jobs.executor import Executor
from dmapsvc.jobs.run import Outcome, Run
from dmapsvc.settings import Settings


class Fake:
    """Work that leaves traces: `<case>.begun`, `<case>.ended`, `<case>.published` in `seen`."""

    def __init__(self, seen: Path) -> None:
        self._seen = seen
        self._inside: set[str] = set()
        self._behaviours: dict[str, Callable[[Run], None]] = {
            "done": self._done,
            "held": self._held,
            "refused": self._refused,
            "broken": self._broken,
            "once": self._broken_once,
            "poison": self._poison,
            "away-once": self._done,
            "deleted": self._deleted,
            "lost": self._lost,
            "lost-once": self._lost_once,
            "stalled": self._stalled,
        }

    def __call__(self, run: Run) -> Outcome:
        case = run.request.case
        self._inside.add(case)
        self._note(f"{case}.begun", " ".join(sorted(self._inside)))
        try:
            assert run.path.read_text()
            self._behaviours[run.request.filename](run)
        finally:
            self._inside.discard(case)
        if not run.wanted():
            raise Superseded("no longer wanted")
        self._note(f"{case}.published", str(run.revision))
        return Outcome(notes=("a note",), seconds={"map": 0.5}, backend="fake")

    def memory(self, request: Request) -> int:
        """What a request takes; of a file that is `away`, for good or once, it cannot be told."""
        tries = self._seen / f"{request.case}.away"
        if request.filename == "away" or (request.filename == "away-once" and not tries.exists()):
            self._note(tries.name, "")
            raise SourceAway(f"{request.filename}: its disk is away")
        return request.bytes or 1000

    def _note(self, name: str, line: str) -> None:
        with (self._seen / name).open("a") as file:
            file.write(f"{line}\n")

    def _done(self, run: Run) -> None:
        run.progress("read", 0.1)
        run.progress("map", 0.5)

    def _held(self, run: Run) -> None:
        while not (self._seen / f"{run.request.case}.release").exists():
            run.progress("map", 0.25)
            time.sleep(0.01)

    def _refused(self, run: Run) -> None:
        raise BadLabels("voxel (1, 2, 3) is 1.5", "a label map holds whole numbers", "Round it")

    def _broken(self, run: Run) -> None:
        raise RuntimeError("the secret is in /root/secret")

    def _broken_once(self, run: Run) -> None:
        if len((self._seen / f"{run.request.case}.begun").read_text().splitlines()) == 1:
            raise RuntimeError("not this time")

    def _poison(self, run: Run) -> None:
        run.progress("map", 0.3)
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)

    def _lost(self, run: Run) -> None:
        raise DeviceLost("the GPU's context broke: error 700")

    def _lost_once(self, run: Run) -> None:
        if len((self._seen / f"{run.request.case}.begun").read_text().splitlines()) == 1:
            self._lost(run)

    def _stalled(self, run: Run) -> None:
        run.progress("map", 0.3)
        threading.Event().wait()

    def _deleted(self, run: Run) -> None:
        raise NotFound("dataset 'knees'", "it was deleted")


def main() -> None:
    """Serve until standard input ends."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    settings = Settings(**json.loads(sys.stdin.readline()))
    seen = settings.data / "seen"
    seen.mkdir(exist_ok=True)
    stop = threading.Event()
    threading.Thread(target=_watch, args=(stop,), daemon=True).start()
    if (seen / "hiccups").exists():
        sa.event.listen(sa.Engine, "before_cursor_execute", _hiccups(seen / "hiccups"))
    fake = Fake(seen)
    device = Device(backend="fake", name="none", memory_used=1, memory_total=2**40)
    executor = Executor(settings, fake, memory=fake.memory, device=lambda: device)
    (seen / "ready").touch()
    try:
        executor.serve(stop)
    except (DeviceLost, Stalled):
        os._exit(3)
    os._exit(0)


def _hiccups(log: Path) -> Callable[..., None]:
    """A database that refuses every kind of statement about one run the first time; noted in `log`."""
    refused: set[str] = set()

    def refuse(connection: object, cursor: object, statement: str, *others: object) -> None:
        if "dmapsvc_runs.run = " in statement and statement not in refused:
            refused.add(statement)
            with log.open("a") as file:
                file.write(f"{' '.join(statement.split())}\n")
            raise sa.exc.OperationalError(statement, {}, Exception("a hiccup"))

    return refuse


def _watch(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


if __name__ == "__main__":
    main()
