"""The audit file: whole lines, whoever writes beside, and never a failure of what it tells of."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from dmapsvc.audit import AuditLog


def test_a_line_says_what_is_known_and_when(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")
    log.note(key="anna", action="delete_case", case='a"b\nc', job=None)
    log.note(key=None, action="put_mask")
    first, second = map(json.loads, (tmp_path / "audit.jsonl").read_text().splitlines())
    assert datetime.fromisoformat(first.pop("time")).utcoffset() is not None
    assert first == {"key": "anna", "action": "delete_case", "case": 'a"b\nc'}
    assert set(second) == {"time", "action"}
    assert stat.S_IMODE((tmp_path / "audit.jsonl").stat().st_mode) == 0o600


def test_a_file_that_was_rotated_away_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    log.note(action="a")
    path.rename(tmp_path / "audit.1.jsonl")
    log.note(action="b")
    assert json.loads(path.read_text())["action"] == "b"


def test_a_line_after_one_that_broke_off_stands_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "audit.jsonl"
    real = os.write
    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(os, "write", lambda descriptor, line: real(descriptor, line[:9]))
        AuditLog(path).note(action="a")
    assert '"action": "a"' in caplog.text
    for action in ("b", "c"):
        AuditLog(path).note(action=action)  # as another process would
    broken, *lines = path.read_text().splitlines()
    assert len(broken) == 9
    assert [json.loads(line)["action"] for line in lines] == ["b", "c"]


def test_a_line_has_no_letter_that_could_turn_it_about(tmp_path: Path) -> None:
    AuditLog(tmp_path / "audit.jsonl").note(action="a", case="\u202e\x9bé")
    said = (tmp_path / "audit.jsonl").read_text()
    assert said.isascii()
    assert json.loads(said)["case"] == "\u202e\x9bé"


def test_a_file_that_root_begins_is_the_folders_owners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda _, user, group: given.append((user, group)))
    for _ in range(2):
        AuditLog(tmp_path / "audit.jsonl").note(action="new_key")
    owner = tmp_path.stat()
    assert given == [(owner.st_uid, owner.st_gid)]


def test_processes_that_write_at_once_write_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    code = "import sys; from pathlib import Path; from dmapsvc.audit import AuditLog\n" + (
        "for n in range(500): AuditLog(Path(sys.argv[1])).note(who=sys.argv[2], n=n, pad='x' * (n % 300))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, path, str(number)], env=os.environ)
        for number in range(3)
    ]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for number in range(3):
        assert [line["n"] for line in lines if line["who"] == str(number)] == list(range(500))


def test_a_line_that_cannot_be_written_is_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        AuditLog(tmp_path / "nothing" / "audit.jsonl").note(action="delete_case", case="a")
    assert '"case": "a"' in caplog.text
