"""Nothing of the inside is told by any call: not when its parts fail, and not when the disk holds rubbish."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from api import dependencies
from api.app import create_app
from dmapsvc.settings import Settings
from tests.api.bodies import nifti, two_balls
from tests.api.talk import Talk, serving

SECRET = "secret of /the/inside.py"
HARMLESS = {"/healthz", "/metrics"}  # they answer whatever is broken


def calls(app: FastAPI, dataset: str = "d") -> Iterator[tuple[str, str, str]]:
    """Method, path as OpenAPI has it, and an address of `dataset` or its case `a`, of every call."""
    names = {"dataset": dataset, "case": "a", "path": f"{dataset}.zarr/a/zarr.json"}
    for path, methods in app.openapi()["paths"].items():
        for method in methods:
            yield method, path, path.format_map({**names, "job": "0" * 64, "batch": "0" * 32})


def ask(client: httpx.Client, method: str, address: str) -> httpx.Response:
    """The answer to a body that fits the call, or to none."""
    headers = {"connection": "close"}  # as the server does itself after a bug
    if method == "put" and "/cases/" in address:
        return client.request(method, address, content=nifti(two_balls()), headers=headers)
    return client.request(method, address, json={} if method in ("put", "post") else None, headers=headers)


class Broken:
    """Fails whatever is asked of it."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(SECRET)


def test_a_call_whose_parts_fail_tells_nothing(tmp_path: Path) -> None:
    app = create_app(Settings(data=tmp_path))
    for name, part in inspect.getmembers(dependencies, inspect.isfunction):
        if name.startswith("get_") and part.__module__ == dependencies.__name__:
            app.dependency_overrides[part] = Broken
    with serving(app) as client:
        for method, path, address in calls(app):
            answer = ask(client, method, address)
            assert "secret" not in answer.text, path
            assert "inside" not in answer.text, path
            if path not in HARMLESS:
                assert answer.status_code >= 400, path
                assert answer.headers["content-type"] == "application/problem+json", path


@pytest.fixture(scope="session")
def published(whole: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of a dataset `d` with a case `a`."""
    from demo.service import Service

    assert isinstance(whole, Service)
    with httpx.Client(base_url=whole.url, trust_env=False, timeout=60) as http:
        talk = Talk(http, whole)
        name = talk.dataset()
        talk.publish(f"{name}/a/mask", nifti(two_balls()))
    folder = tmp_path_factory.mktemp("published")
    shutil.copytree(whole.data / "store" / f"{name}.zarr", folder / "d.zarr")
    return folder


def nodes(store: Path) -> list[Path]:
    return sorted(store.rglob("zarr.json"))


def shards(store: Path) -> list[Path]:
    return [path for path in store.rglob("*") if path.is_file() and path.name != "zarr.json"]


def _write(paths: Callable[[Path], list[Path]], content: bytes) -> Callable[[Path], None]:
    def damage(store: Path) -> None:
        for path in paths(store):
            path.write_bytes(content)

    return damage


def _folders(store: Path) -> None:
    """Put a folder in the place of each file."""
    for path in shards(store) + nodes(store):
        path.unlink()
        path.mkdir()


def _links(store: Path) -> None:
    """Put a link to nowhere in the place of each file."""
    for path in shards(store) + nodes(store):
        path.unlink()
        path.symlink_to(f"/nowhere/{path.name}")


DAMAGES = {
    "empty metadata": _write(nodes, b""),
    "metadata that is no JSON": _write(nodes, b"{"),
    "metadata of another kind": _write(nodes, b'{"attributes": {"dmapsvc": {"x": 1}}, "zarr_format": 3}'),
    "metadata that is no text": _write(nodes, b"\xff\xfe\x00"),
    "metadata that is too deep": _write(nodes, b"[" * 10_000),
    "metadata of cases alone": _write(lambda store: nodes(store / "a"), b"[]"),
    "empty shards": _write(shards, b""),
    "shards of rubbish": _write(shards, b"rubbish" * 1000),
    "folders for files": _folders,
    "links to nowhere": _links,
}


def test_a_damaged_store_tells_nothing_of_where_it_lies(tmp_path: Path, published: Path) -> None:
    data = tmp_path / "secret-place"
    for number, damage in enumerate(DAMAGES.values()):
        dataset = data / "store" / f"d{number}.zarr"
        shutil.copytree(published / "d.zarr", dataset)
        damage(dataset)
    app = create_app(Settings(data=data))
    with serving(app) as client:
        for number, damaged in enumerate(DAMAGES):
            for method, path, address in sorted(
                calls(app, f"d{number}"), key=lambda call: call[0] == "delete"
            ):
                answer = ask(client, method, address)
                said = answer.content if answer.status_code >= 400 else b""
                for inside in (b"secret-place", b"Traceback", b".py", b"site-packages", b"nowhere"):
                    assert inside not in said, (damaged, method, path, answer.text)
                if answer.status_code >= 400:
                    assert answer.headers["content-type"] == "application/problem+json", (damaged, path)
