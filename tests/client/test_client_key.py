"""The key a client shows: in one header of every request, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmapsvc.client import Client
from dmapsvc.client.urls import check_server
from dmapsvc.errors import BadInput, ServerProblem
from dmapsvc.loader.remote.http_origin import HttpOrigin
from tests.client.client_stub import DONE, Answer, Stub

KEY = "dmapsvc_0123456789abcdef"


def shown(stub: Stub) -> set[str | None]:
    return {asked.headers.get("authorization") for asked in stub.asked}


def use(stub: Stub, client: Client, tmp_path: Path) -> None:
    """One call of each kind: JSON, pages, upload, file, part, download."""
    stub.on("GET", "/v1/datasets", Answer.json({"datasets": [], "next": None}))
    stub.on("PUT", "/v1/datasets/knees/cases/a/mask", Answer.json(DONE))
    stub.on("GET", "/zarr/knees.zarr/zarr.json", Answer(b"{}"))
    stub.on("GET", "/v1/datasets/knees/cases/a/phi.nii.gz", Answer(b"phi"))
    mask = tmp_path / "a.nii.gz"
    mask.write_bytes(b"mask")
    client.datasets()
    client.put_mask("knees", "a", mask)
    client.store_file("knees", "zarr.json")
    with client.store_part("knees", "zarr.json"):
        pass
    client.download("knees", "a", "phi.nii.gz", tmp_path / "phi.nii.gz")
    assert len(stub.asked) == 5


def test_the_environments_key_goes_with_every_request(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMAPSVC_KEY", f"{KEY}\n")  # as a file's last line ends
    with Client(stub.url) as client:
        use(stub, client, tmp_path)
    assert shown(stub) == {f"Bearer {KEY}"}


def test_a_given_key_counts_more_and_without_one_nothing_is_shown(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMAPSVC_KEY", "another")
    with Client(stub.url, key=KEY) as client:
        use(stub, client, tmp_path)
    assert shown(stub) == {f"Bearer {KEY}"}
    monkeypatch.delenv("DMAPSVC_KEY")
    stub.asked.clear()
    with Client(stub.url) as client:
        use(stub, client, tmp_path)
    assert shown(stub) == {None}


def test_a_loader_shows_it(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMAPSVC_KEY", KEY)
    stub.on("GET", "/v1/datasets/knees/cases", Answer.json({"cases": [], "next": None}))
    assert HttpOrigin(f"{stub.url}/v1/datasets/knees").cases() == []
    assert shown(stub) == {f"Bearer {KEY}"}


def test_a_redirect_does_not_carry_it_away(stub: Stub) -> None:
    stub.on("GET", "/v1/datasets", Answer.problem(307, "Moved.", location=f"{stub.url}/elsewhere"))
    with Client(stub.url, key=KEY) as client, pytest.raises(ServerProblem):
        client.datasets()
    assert [asked.path for asked in stub.asked] == ["/v1/datasets"]


def test_no_error_tells_it(stub: Stub, free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMAPSVC_KEY", KEY)
    stub.on("GET", "/v1/datasets", Answer.problem(401, "The key is not known here."))
    for url in (stub.url, f"http://127.0.0.1:{free_port}"):
        with Client(url) as client, pytest.raises(Exception) as raised:  # noqa: PT011  whichever it is
            client.datasets()
        assert KEY not in f"{raised.value!r} {raised.value} {client!r} {vars(client)}"


@pytest.mark.parametrize("key", ["a b", "a\nb", "schlüssel", "a\x00"])
def test_what_can_be_no_key_is_refused_without_repeating_it(stub: Stub, key: str) -> None:
    with pytest.raises(BadInput, match="dmapsvc keys new") as raised:
        Client(stub.url, key=key)
    assert key not in str(raised.value)


def test_a_key_in_a_url_is_refused_without_repeating_it() -> None:
    with pytest.raises(BadInput, match="DMAPSVC_KEY") as raised:
        check_server(f"http://anna:{KEY}@127.0.0.1:8000")
    assert KEY not in str(raised.value)
