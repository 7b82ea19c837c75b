"""`dmapsvc keys`: made, shown once, listed without their text, revoked; each change noted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.service import Service
from dmapsvc.keys import KeyFile, Scope
from tests.cli.cli_run import Run


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DMAPSVC_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("DMAPSVC_KEYS", raising=False)
    monkeypatch.delenv("DMAPSVC_KEY", raising=False)
    return tmp_path / "data"


def test_a_key_is_printed_once_and_listed_without_its_text(cli: Callable[..., Run], data: Path) -> None:
    run = cli("keys", "new", "anna", "--scope", "write", "--days", 30)
    assert run.code == 0
    text = run.out.strip()
    key = KeyFile(data / "keys.json").find(text)
    assert key is not None
    assert (key.name, key.scope) == ("anna", Scope.WRITE)
    assert key.expires is not None
    assert (key.expires - key.created).days == 30
    listed = cli("keys", "list")
    assert (listed.code, listed.err) == (0, "")
    assert "anna" in listed.out
    assert "write" in listed.out
    assert text not in listed.out
    assert key.sha256 not in listed.out


def test_a_revoked_key_is_gone(cli: Callable[..., Run], data: Path) -> None:
    text = cli("keys", "new", "anna", "--scope", "read").out.strip()
    assert cli("keys", "revoke", "anna").code == 0
    assert KeyFile(data / "keys.json").find(text) is None
    assert "nobody is let in" in cli("keys", "list").error
    again = cli("keys", "revoke", "anna")
    assert again.code == 2
    assert "anna" in again.error


def test_without_a_file_it_says_so(cli: Callable[..., Run], data: Path) -> None:
    assert cli("keys", "list").error == "no keys"
    assert not data.exists()


def test_changes_are_noted_without_the_key(cli: Callable[..., Run], data: Path) -> None:
    text = cli("keys", "new", "anna", "--scope", "read").out.strip()
    cli("keys", "new", "anna", "--scope", "admin")  # refused: no change
    cli("keys", "revoke", "anna")
    noted = (data / "audit.jsonl").read_text()
    assert [(line["action"], line["name"]) for line in map(json.loads, noted.splitlines())] == [
        ("new_key", "anna"),
        ("revoke_key", "anna"),
    ]
    assert text not in noted


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("new", "anna", "--scope", "root"), "wanted read, write, admin"),
        (("new", "anna smith", "--scope", "read"), "'anna smith'"),
        (("new", "anna"), "--scope"),
        (("new", "anna", "--scope", "read", "--days", "0"), "--days"),
    ],
)
def test_what_cannot_be_a_key_is_one_line(
    cli: Callable[..., Run], data: Path, words: tuple[str, ...], said: str
) -> None:
    run = cli("keys", *words)
    assert run.code == 2
    assert said in run.error
    assert not data.exists()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("guarded"), ("api",)) as service:
        KeyFile(service.data / "keys.json").new("other", Scope.ADMIN)
        yield service


def test_commands_show_the_environments_key(
    cli: Callable[..., Run], service: Service, masks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = KeyFile(service.data / "keys.json")
    submit = ("submit", masks, "--dataset", "knees", "--server", service.url)
    monkeypatch.delenv("DMAPSVC_KEY", raising=False)
    refused = cli(*submit)
    assert refused.code == 2
    assert "DMAPSVC_KEY" in refused.error
    for name, scope, code in (("reads", Scope.READ, 2), ("writes", Scope.WRITE, 0)):
        key = keys.new(name, scope)
        monkeypatch.setenv("DMAPSVC_KEY", key)
        runs = [cli(*submit), cli("info", service.url), cli("jobs", "--server", service.url)]
        assert [run.code for run in runs] == [code, 0, 0]
        assert all(key not in run.out + run.err for run in runs)
    assert key not in service.log("api")
