"""Tasks in processes: what fails fails alone, and what has to stop saves what it has, once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dmapsvc.compare.processes import Failure, Processes
from tests.compare.processes_work import act


def _run(
    words: dict[str, str], folder: Path, at_once: int = 1
) -> tuple[dict[str, Failure | None], list[tuple[str, Any]]]:
    ends: dict[str, Failure | None] = {}
    news: list[tuple[str, Any]] = []
    Processes(act, at_once=at_once, log=lambda task: folder / f"{task[0]}.txt").run(
        {name: (word, folder) for name, word in words.items()},
        lambda name, told: news.append((name, told)),
        ends.__setitem__,
    )
    return ends, news


def test_one_that_fails_fails_alone_and_says_why(tmp_path: Path) -> None:
    words = ("raises", "killed", "well", "exits", "diverges", "full")
    ends, news = _run({word: word for word in words}, tmp_path, at_once=2)
    assert set(ends) == set(words)
    assert ends.pop("well") is None
    told = {name: failure for name, failure in ends.items() if failure is not None}
    log = tmp_path / "raises.txt"
    assert told["raises"] == Failure(reason=f"ValueError: no such luck; where from, {log} says")
    assert told["diverges"] == Failure(reason="the loss is nan; a finite loss is needed.", hopeless=True)
    assert not told["full"].hopeless, "there may be room the next time"
    assert "ended by SIGKILL" in told["killed"].reason
    assert "exit code 7" in told["exits"].reason
    assert str(tmp_path / "exits.txt") in told["exits"].reason
    assert "Traceback" in log.read_text()
    assert [name for name, _ in news] == ["well", "well"]


def test_each_has_a_process_of_its_own_and_so_many_run_at_once(tmp_path: Path) -> None:
    _, news = _run(dict.fromkeys("abcd", "well"), tmp_path, at_once=2)
    pids = {told[1] for _, told in news if told[0] == "pid"}
    assert len(pids) == 4
    assert os.getpid() not in pids
    spans = [told[1:] for _, told in news if told[0] == "span"]
    beside = [sum(begin <= start < end for begin, end in spans) for start, _ in spans]
    assert max(beside) <= 2


def test_what_a_task_prints_goes_to_its_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _run({"a": "well"}, tmp_path)
    _run({"a": "well"}, tmp_path)
    assert (tmp_path / "well.txt").read_text() == "well prints\n" * 2
    assert capfd.readouterr() == ("", "")


def test_an_error_of_the_listener_stops_the_processes(tmp_path: Path) -> None:
    def burst(name: str, news: object) -> None:
        raise BrokenPipeError

    processes = Processes(act, at_once=1, log=lambda task: tmp_path / "log.txt")
    with pytest.raises(BrokenPipeError):
        processes.run({"a": ("long", tmp_path)}, burst, lambda name, failure: None)
    assert len(list(tmp_path.glob("saved-*"))) == 1


@contextmanager
def _parent(folder: Path, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A program with two long tasks, both under way."""
    command = [sys.executable, "-m", "tests.compare.processes_parent", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options) as parent:
        try:
            assert parent.stdout is not None
            assert [parent.stdout.readline() for _ in "ab"] == ["waiting\n"] * 2
            yield parent
        finally:
            parent.kill()


def _both_saved(folder: Path) -> bool:
    return len(list(folder.glob("saved-*"))) == 2


def _until(holds: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + 30
    while not holds() and time.monotonic() < give_up:
        time.sleep(0.05)
    return holds()


def test_ctrl_c_lets_each_save_once_and_waits_for_it(tmp_path: Path) -> None:
    """As a terminal does it: the signal goes to the whole process group."""
    with _parent(tmp_path, start_new_session=True, stderr=subprocess.DEVNULL) as parent:
        os.killpg(parent.pid, signal.SIGINT)
        parent.wait(timeout=30)
        assert _both_saved(tmp_path)
    assert not (tmp_path / "twice").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_processes_do_not_outlive_whoever_started_them(tmp_path: Path, number: signal.Signals) -> None:
    with _parent(tmp_path) as parent:
        parent.send_signal(number)
        parent.wait(timeout=30)
        assert _until(lambda: _both_saved(tmp_path))
