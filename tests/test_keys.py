"""Keys: found by their text alone, kept as hashes, changed by several processes at once."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dmapsvc.errors import BadName, Conflict, Damaged, NotFound
from dmapsvc.keys import Key, KeyFile, Scope


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "data" / "keys.json")


def test_a_key_is_found_by_its_text(keys: KeyFile) -> None:
    texts = {scope: keys.new(scope, scope) for scope in Scope}
    for scope, text in texts.items():
        found = keys.find(text)
        assert found is not None
        assert (found.name, found.scope, found.expires) == (scope, scope, None)
    for wrong in ("", "x", texts[Scope.READ][:-1], texts[Scope.READ] + "x", "é", next(iter(texts))):
        assert keys.find(wrong) is None


def test_the_file_holds_no_key_and_is_its_owners_alone(keys: KeyFile) -> None:
    text = keys.new("anna", Scope.WRITE)
    said = keys.path.read_text()
    assert text not in said
    assert text.partition("_")[2] not in said
    assert keys.find(json.loads(said)[0]["sha256"]) is None
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("before", [False, True])
def test_what_root_makes_is_the_services(
    keys: KeyFile, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    """`stat` tells another owner, and what is given away is noted, as only root may do so for good."""
    if before:
        keys.new("first", Scope.READ)
    else:
        keys.path.parent.mkdir()
    real = Path.stat

    def stat_of_another(path: Path, **how: bool) -> os.stat_result:
        facts = list(real(path, **how))
        if path == (keys.path if before else keys.path.parent):
            facts[stat.ST_UID], facts[stat.ST_GID] = 10001, 10002
        return os.stat_result(facts)

    given: dict[str, tuple[int, int]] = {}

    def note(descriptor: int, user: int, group: int) -> None:
        given[Path(f"/proc/self/fd/{descriptor}").readlink().suffix] = (user, group)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(Path, "stat", stat_of_another)
    monkeypatch.setattr(os, "fchown", note)
    keys.new("anna", Scope.READ)
    assert given[".part"] == (10001, 10002)
    assert (".lock" in given) == (not before), "what was there stays whose it is"


def test_each_key_is_another_of_256_bits(keys: KeyFile) -> None:
    texts = {keys.new(f"k{number}", Scope.READ) for number in range(20)}
    assert len(texts) == 20
    assert all(len(text.partition("_")[2]) * 6 >= 256 for text in texts)


@pytest.mark.parametrize(
    ("scope", "covered"),
    [(Scope.READ, {Scope.READ}), (Scope.WRITE, {Scope.READ, Scope.WRITE}), (Scope.ADMIN, set(Scope))],
)
def test_a_scope_covers_those_before_it(scope: Scope, covered: set[Scope]) -> None:
    assert {wanted for wanted in Scope if scope.covers(wanted)} == covered


def test_a_change_is_seen_by_who_has_read_before(keys: KeyFile) -> None:
    other = KeyFile(keys.path)
    assert other.keys() is None
    text = keys.new("anna", Scope.READ)
    assert other.find(text) is not None
    keys.revoke("anna")
    assert other.find(text) is None
    assert other.keys() == ()  # a file without keys is not no file
    keys.path.unlink()
    assert other.keys() is None


def test_an_expired_key_is_no_key(keys: KeyFile) -> None:
    now = datetime.now(UTC)
    key = Key(name="a", scope=Scope.READ, sha256="", created=now, expires=now)
    assert not key.is_good(now)
    assert key.is_good(now - timedelta(seconds=1))
    text = keys.new("short", Scope.READ, days=1)
    assert keys.find(text) is not None
    past = (now - timedelta(hours=1)).isoformat()
    keys.path.write_text(json.dumps([{**json.loads(keys.path.read_text())[0], "expires": past}]))
    assert keys.find(text) is None


def test_names_are_checked_and_unique(keys: KeyFile) -> None:
    keys.new("anna", Scope.READ)
    with pytest.raises(Conflict, match="anna"):
        keys.new("anna", Scope.ADMIN)
    with pytest.raises(BadName):
        keys.new("anna smith\n", Scope.READ)
    with pytest.raises(NotFound, match="dmapsvc keys list"):
        keys.revoke("bert")


@pytest.mark.parametrize("content", ["", "{}", "[1]", '[{"name": "a"}]', "\0"])
def test_a_damaged_file_lets_nobody_in(keys: KeyFile, content: str) -> None:
    text = keys.new("anna", Scope.READ)
    keys.path.write_text(content)
    with pytest.raises(Damaged):
        keys.find(text)
    with pytest.raises(Damaged):  # which must not replace what somebody may mend
        keys.new("bert", Scope.READ)
    assert keys.path.read_text() == content


def test_processes_that_make_keys_at_once_lose_none(keys: KeyFile) -> None:
    code = "import sys; from pathlib import Path; from dmapsvc.keys import KeyFile, Scope\n" + (
        "for n in range(5): KeyFile(Path(sys.argv[1])).new(f'{sys.argv[2]}-{n}', Scope.READ)"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, keys.path, str(number)], env=os.environ)
        for number in range(3)
    ]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    made = keys.keys()
    assert made is not None
    assert {key.name for key in made} == {f"{number}-{n}" for number in range(3) for n in range(5)}
