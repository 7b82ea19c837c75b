"""Who may: keys and their scopes over every call, and a service that strangers could reach."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.access import OPEN, check_bind, scope_for
from api.app import create_app
from dmapsvc.errors import BadInput
from dmapsvc.keys import KeyFile, Scope
from dmapsvc.settings import Settings
from tests.api.bodies import nifti, two_balls
from tests.api.talk import assert_problem, serving
from tests.jobs.processes import eventually

ADMIN = {("delete", "/v1/datasets/{dataset}"), ("delete", "/v1/datasets/{dataset}/cases/{case}")}
MASK = "/v1/datasets/d/cases/a/mask"


@pytest.fixture
def key_file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("guarded")


@pytest.fixture(scope="module")
def keys(home: Path) -> dict[Scope, dict[str, str]]:
    """The headers that show a key, by its scope."""
    return {scope: bearer(KeyFile(home / "keys.json").new(f"{scope}-key", scope)) for scope in Scope}


@pytest.fixture(scope="module")
def guarded(home: Path, keys: dict[Scope, dict[str, str]]) -> Iterator[httpx.Client]:
    assert keys
    with serving(create_app(Settings(data=home))) as client:
        yield client


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


def calls(client: httpx.Client) -> list[tuple[str, str, str]]:
    """Method, path as OpenAPI has it, and an address that fits it, of every call."""
    paths = client.get("/openapi.json").json()["paths"]
    named = {"job": "0" * 64, "dataset": "d", "case": "a", "path": "d.zarr/zarr.json"}
    return [
        (method, path, path.format_map({**named, "batch": "0" * 32}))
        for path in paths
        for method in paths[path]
    ]


def test_every_call_wants_a_key_that_covers_it(
    guarded: httpx.Client, keys: dict[Scope, dict[str, str]]
) -> None:
    """Reading is GET, deleting what is published is for admins, all else is writing."""
    for method, path, address in calls(guarded):
        without = guarded.request(method, address)
        if path in OPEN:
            assert without.is_success, path
            continue
        if path == "/metrics":
            continue
        assert_problem(without, 401, "DMAPSVC_KEY")
        assert without.headers["www-authenticate"].startswith("Bearer")
        wanted = Scope.ADMIN if (method, path) in ADMIN else Scope.READ if method == "get" else Scope.WRITE
        for scope, header in keys.items():
            status = guarded.request(method, address, headers=header).status_code
            assert (status == 403) == (not scope.covers(wanted)), (method, path, scope)
            assert status != 401


def test_metrics_want_a_key_too() -> None:
    assert scope_for("GET", "/metrics") is Scope.READ
    assert scope_for("GET", "/") is Scope.READ


def test_a_weak_key_is_told_what_it_lacks(guarded: httpx.Client, keys: dict[Scope, dict[str, str]]) -> None:
    answer = guarded.put(MASK, content=nifti(two_balls()), headers=keys[Scope.READ])
    assert_problem(answer, 403, "'read-key'", "write")
    assert "insufficient_scope" in answer.headers["www-authenticate"]
    answer = guarded.put(MASK, content=nifti(two_balls()), headers=keys[Scope.WRITE])
    assert answer.status_code == 202
    assert_problem(guarded.delete("/v1/datasets/d", headers=keys[Scope.WRITE]), 403, "admin")
    job = answer.headers["location"]
    assert guarded.delete(job, headers=keys[Scope.WRITE]).json()["state"] == "cancelled"
    assert guarded.delete("/v1/datasets/d", headers=keys[Scope.ADMIN]).status_code == 204


@pytest.mark.parametrize(
    "said",
    ["", "Bearer", "Bearer wrong", "Basic {}", "{}", "Bearer {}x", "Bearer x {}", "Bearer \xe9"],
)
def test_what_is_no_good_key_is_refused(
    guarded: httpx.Client, keys: dict[Scope, dict[str, str]], said: str
) -> None:
    text = keys[Scope.ADMIN]["authorization"].partition(" ")[2]
    header = said.format(text).encode("latin-1")
    answer = guarded.get("/v1/jobs", headers=[(b"authorization", header)])
    assert_problem(answer, 401)
    assert text not in answer.text


def test_the_scheme_is_written_as_one_likes(guarded: httpx.Client, keys: dict[Scope, dict[str, str]]) -> None:
    text = keys[Scope.READ]["authorization"].partition(" ")[2]
    assert guarded.get("/v1/jobs", headers={"authorization": f"bearer  {text}"}).is_success


def test_keys_count_from_when_they_are_made_until_they_are_revoked(tmp_path: Path, key_file: KeyFile) -> None:
    with serving(create_app(Settings(data=tmp_path))) as client:
        assert client.get("/v1/jobs").is_success
        key = bearer(key_file.new("anna", Scope.READ))
        assert_problem(client.get("/v1/jobs"), 401)
        assert client.get("/v1/jobs", headers=key).is_success
        key_file.revoke("anna")
        assert_problem(client.get("/v1/jobs", headers=key), 401)
        key_file.path.write_text("{")  # by accident, as what follows: nobody is let in for that
        answer = client.get("/v1/jobs", headers=key)
        assert_problem(answer, 503, "keys")
        assert str(key_file.path) not in answer.text
        assert client.get("/healthz").is_success
        key_file.path.unlink()
        assert_problem(client.get("/v1/jobs"), 401)


def test_no_key_stands_in_a_log(
    guarded: httpx.Client, keys: dict[Scope, dict[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        for header in keys.values():
            for method in ("GET", "PUT", "DELETE"):
                guarded.request(method, "/v1/datasets/d", headers=header)
    for header in keys.values():
        assert header["authorization"].partition(" ")[2] not in caplog.text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "no-such-host.invalid"])
def test_a_service_for_strangers_wants_keys(tmp_path: Path, key_file: KeyFile, host: str) -> None:
    with pytest.raises(BadInput, match=r"dmapsvc keys new .* DMAPSVC_ALLOW_ANONYMOUS"):
        check_bind(Settings(data=tmp_path, host=host))
    check_bind(Settings(data=tmp_path, host=host, allow_anonymous=True))
    key_file.new("anna", Scope.ADMIN)
    check_bind(Settings(data=tmp_path, host=host))


@pytest.mark.parametrize("hosts", ["maps.example.org", "localhost,maps.example.org", "*", "192.0.2.7"])
def test_a_service_that_others_reach_by_a_proxy_wants_keys(
    tmp_path: Path, key_file: KeyFile, hosts: str
) -> None:
    with pytest.raises(BadInput, match="DMAPSVC_HOSTS names"):
        check_bind(Settings(data=tmp_path, hosts=hosts))
    check_bind(Settings(data=tmp_path, hosts=hosts, allow_anonymous=True))
    check_bind(Settings(data=tmp_path, hosts="localhost,127.0.0.1,::1,[::1]"))
    key_file.new("anna", Scope.ADMIN)
    check_bind(Settings(data=tmp_path, hosts=hosts))


def test_keys_that_are_not_where_they_should_be_are_missed(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, keys=tmp_path / "lost.json")
    with pytest.raises(BadInput, match=r"DMAPSVC_KEYS=.*lost\.json"):
        check_bind(settings)
    KeyFile(tmp_path / "lost.json").new("anna", Scope.ADMIN)
    check_bind(settings)


def test_the_log_says_who_asked_and_who_was_refused(
    guarded: httpx.Client, keys: dict[Scope, dict[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="api.access"):
        guarded.get("/v1/jobs", headers=keys[Scope.READ])
        guarded.get("/v1/jobs")
        guarded.delete("/v1/datasets/d", headers=keys[Scope.READ])

    def said() -> list[logging.LogRecord]:
        lines = [record for record in caplog.records if record.name == "api.access"]
        return lines if len(lines) == 3 else []

    good, unknown, weak = eventually(said)
    assert [vars(line)["key"] for line in (good, unknown, weak)] == ["read-key", None, "read-key"]
    assert {vars(line)["client"] for line in (good, unknown, weak)} == {"127.0.0.1"}
    assert "127.0.0.1" not in good.getMessage()
    assert unknown.getMessage().endswith("from 127.0.0.1 with no good key")
    assert weak.getMessage().endswith("from 127.0.0.1 with key read-key")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1"])
def test_a_service_of_this_machine_needs_none(tmp_path: Path, host: str) -> None:
    check_bind(Settings(data=tmp_path, host=host))
